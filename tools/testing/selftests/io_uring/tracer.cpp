// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "tracer.hpp"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "deadline.hpp"

/* __WALL, as a worker is a thread. */
static bool await_report(pid_t tid, int options)
{
	const Deadline deadline(limit::event);
	siginfo_t info = {};

	while (waitid(P_PID, static_cast<id_t>(tid), &info, options | WNOHANG | __WALL) == 0 &&
	       info.si_pid != tid && !deadline.over())
		deadline.back_off();
	return info.si_pid == tid;
}

int trace(pid_t tid)
{
	return ptrace(PTRACE_SEIZE, tid, 0, 0) ? -errno : 0;
}

int stop_traced(pid_t tid)
{
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return -errno;
	return await_report(tid, WSTOPPED) ? 0 : -ETIME;
}

int let_go(pid_t tid)
{
	return ptrace(PTRACE_DETACH, tid, 0, 0) ? -errno : 0;
}

bool await_report_of_end(pid_t tid)
{
	return await_report(tid, WEXITED);
}
