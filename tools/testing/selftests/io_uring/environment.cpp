// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "environment.hpp"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.hpp"
#include "kernel.hpp"

bool refused(long ret)
{
	return ret == -EPERM || ret == -EACCES || ret == -ENOSYS;
}

/*
 * Whether seccomp refuses one of the calls that tests make, beyond those without which no
 * program runs, and those whose tests say so.  Nothing comes of them here: whatever an
 * argument means, it is wrong.
 */
static bool calls_forbidden()
{
	constexpr long calls[] = {
		SYS_capset,       SYS_clock_nanosleep, SYS_dup,      SYS_epoll_create1,
		SYS_eventfd2,     SYS_fchmod,          SYS_geteuid,  SYS_getdents64,
		SYS_getpid,       SYS_getppid,         SYS_gettid,   SYS_kill,
		SYS_pipe2,        SYS_prlimit64,       SYS_tgkill,   SYS_sched_getaffinity,
		SYS_rt_sigaction, SYS_waitid,
#ifdef SYS_dup2
		SYS_dup2,         SYS_epoll_wait,      SYS_readlink,
#else
		SYS_dup3,         SYS_epoll_pwait,     SYS_readlinkat,
#endif
	};
	constexpr long wrong = INT_MAX;
	Process child;

	for (const long call : calls)
		if (syscall(call, wrong, wrong, wrong, wrong, wrong, wrong) < 0 && refused(-errno))
			return true;
	return child.open() == 0 && refused(child.run_in_vfork([](Process &) { return 0; }));
}

static bool real_time()
{
	const int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;

	return policy != SCHED_OTHER && policy != SCHED_BATCH && policy != SCHED_IDLE;
}

const char *shed_inheritance()
{
	const struct sched_param none = {};
	cpu_set_t all;
	sigset_t signals;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	/* A terminal may stop whoever writes to it from the background: stty tostop. */
	signal(SIGTTOU, SIG_IGN);
	sigemptyset(&signals);
	sigprocmask(SIG_SETMASK, &signals, nullptr);

	/* The flag can be set by everyone, and cleared by the privileged. */
	const bool kept = sched_setscheduler(0, SCHED_OTHER, &none) &&
			  sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none);

	setpriority(PRIO_PROCESS, 0, 0);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	if (kept && real_time())
		return skip::real_time;
	return calls_forbidden() ? skip::no_calls : nullptr;
}
