// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "janitor.hpp"

#include <errno.h>
#include <random>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proc.hpp"

std::string unique_name()
{
	/* A PID is not unique where there are PID namespaces. */
	std::random_device random;

	return "io_uring_test." + std::to_string(random()) + std::to_string(random());
}

int Janitor::start(const std::function<bool()> &clean)
{
	const int err = cleaner.start([&](Process &self) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		for (int sig = 1; sig < NSIG; sig++)
			signal(sig, SIG_IGN);
		close_files_from(STDERR_FILENO + 1);
		self.await_go();

		const Deadline deadline(limit::event);

		while (!clean() && !deadline.over())
			deadline.back_off();
		return 0;
	});

	/* From here on it can do without this process. */
	const bool ready = !err && cleaner.await_step();

	cleaner.release();
	return err ? err : ready ? 0 : -ETIME;
}
