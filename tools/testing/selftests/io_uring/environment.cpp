// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "environment.hpp"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "kernel.hpp"

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
	if (sched_setscheduler(0, SCHED_OTHER, &none))
		sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none);
	setpriority(PRIO_PROCESS, 0, 0);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	return real_time() ? skip::real_time : nullptr;
}
