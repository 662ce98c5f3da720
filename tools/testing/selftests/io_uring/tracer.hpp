/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What a debugger does to a thread, by ptrace(2). */
#ifndef TRACER_HPP
#define TRACER_HPP

#include <sys/types.h>

/* From now on this thread traces @tid.  0, or -errno. */
int trace(pid_t tid);
/* Stops it.  0, or -errno: -ETIME after limit::event. */
int stop_traced(pid_t tid);
/* Lets it go on, and traces it no more.  0, or -errno. */
int let_go(pid_t tid);
/* True once waitid(2) tells of its end; false after limit::event. */
bool await_report_of_end(pid_t tid);

#endif /* TRACER_HPP */
