// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "janitor.hpp"

#include <errno.h>
#include <poll.h>
#include <random>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.hpp"

std::string unique_name()
{
	/* A PID is not unique where there are PID namespaces. */
	std::random_device random;

	return "io_uring_test." + std::to_string(random()) + std::to_string(random());
}

/*
 * Waits until the process @test closes its end of the pipe, or ends.  The pipe alone would not do:
 * children of the test have that end as well, and a frozen child does not end with the test.
 */
static void await_end_of(pid_t test)
{
	const Fd pidfd = Fd::from(syscall(SYS_pidfd_open, test, 0));
	struct pollfd ends[] = { { .fd = STDIN_FILENO, .events = POLLIN, .revents = 0 },
				 { .fd = pidfd.get(), .events = POLLIN, .revents = 0 } };

	if (write(STDOUT_FILENO, "", 1) != 1 || !pidfd)
		return;
	while (poll(ends, 2, -1) < 0 && errno == EINTR) {
	}
}

int Janitor::start(const std::function<bool()> &clean)
{
	const pid_t test = getpid();
	const int err = cleaner.start([&](Process &) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		for (int sig = 1; sig < NSIG; sig++)
			signal(sig, SIG_IGN);
		close_files_from(STDERR_FILENO + 1);
		await_end_of(test);

		const Deadline deadline(limit::event);

		while (!clean() && !deadline.over())
			deadline.back_off();
		return 0;
	});

	/* The cleaner outlives this process, and ends by itself. */
	const bool ready = !err && cleaner.await_step();

	cleaner.release();
	return err ? err : ready ? 0 : -ETIME;
}
