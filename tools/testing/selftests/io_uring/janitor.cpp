// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "janitor.hpp"

#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "deadline.hpp"

int Janitor::start(const std::function<bool()> &clean)
{
	Pipe pipe;
	char byte;

	if (const int err = pipe.open())
		return err;
	const pid_t janitor = fork();

	if (janitor < 0)
		return -errno;
	if (janitor > 0) {
		life = std::move(pipe.wr);
		return 0;
	}

	/* Beyond the reach of what kills the test, with none of its files. */
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	dup2(pipe.rd.get(), STDIN_FILENO);
	close_range(STDIN_FILENO + 1, ~0U, 0);
	while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
	}

	const Deadline deadline(limit::event);

	while (!clean() && !deadline.over())
		deadline.back_off();
	_exit(0);
}
