/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The CPUs that threads may run on. */
#ifndef CPUS_HPP
#define CPUS_HPP

#include <sched.h>
#include <sys/types.h>

/* Those of the thread @tid, or of this one (sched_getaffinity(2)); none if it is gone. */
cpu_set_t allowed_cpus(pid_t tid = 0);
/* The @nr-th of the CPUs that this task may run on, or the last. */
cpu_set_t allowed_cpu(int nr);
/* The number of the first CPU in @set, which must have one. */
int first_cpu(const cpu_set_t &set);

#endif /* CPUS_HPP */
