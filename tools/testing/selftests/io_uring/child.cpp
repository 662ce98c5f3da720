// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "child.hpp"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

Child::~Child()
{
	if (child > 0 && signal(SIGKILL) == 0)
		waitpid(child, nullptr, 0);
}

int Child::start(const std::function<int(Child &)> &run)
{
	if (const int err = done.open())
		return err;
	if (const int err = told.open())
		return err;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		done.rd.close();
		told.wr.close();
		_exit(run(*this));
	}
	done.wr.close();
	told.rd.close();
	return 0;
}

void Child::step()
{
	char byte = 0;

	if (write(done.wr.get(), &byte, 1) != 1)
		_exit(1);
	/* Interrupted by task work, it restarts; without a parent, it ends. */
	if (read(told.rd.get(), &byte, 1) != 1)
		_exit(1);
}

int Child::become_another()
{
	int fds[2];

	/* It holds the other end, too, so that nothing comes. */
	if (pipe(fds) || dup2(fds[0], STDIN_FILENO) < 0)
		return -errno;
	execl("/bin/sh", "sh", "-c", "read forever", nullptr);
	return -errno;
}

int Child::go()
{
	const char byte = 0;

	return write(told.wr.get(), &byte, 1) == 1 ? 0 : -errno;
}

bool Child::await_step()
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = done.rd.get(), .events = POLLIN, .revents = 0 };
	char byte;

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return read(p.fd, &byte, 1) == 1;
	return false;
}

int Child::signal(int sig) const
{
	return kill(child, sig) ? -errno : 0;
}

int Child::await_end(int options)
{
	const Deadline deadline(limit::event);
	int status;

	for (;;) {
		if (waitpid(child, &status, options | WNOHANG) == child) {
			if (!WIFSTOPPED(status))
				child = -1;
			return status;
		}
		if (deadline.over())
			return -1;
		deadline.back_off();
	}
}
