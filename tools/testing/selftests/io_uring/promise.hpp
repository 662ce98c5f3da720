/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The promise of exit-on-idle, as an assertion that tests share. */
#ifndef PROMISE_HPP
#define PROMISE_HPP

#include "harness.hpp"
#include "workers.hpp"

/* Says why workers should have left, and how many are still there. */
inline void explain(struct __test_metadata *_metadata, const WorkerSet &workers, const Exit &seen)
{
	TH_LOG("%s: %zu of %zu are still there after %.3f ms", describe(seen.fate), workers.alive(),
	       workers.count(), seen.spent.count() / 1e3);
	if (seen.fate == Exit::lingering) {
		const char *promise = exit_on_idle_promise();

		TH_LOG("this kernel promises their exit: %s", promise ? promise : "no");
	}
	if (seen.fate == Exit::ring_held)
		explain_held_ring();
}

/*
 * Each of @workers leaves, as the ring of @end, the last one of its task, was
 * closed.  Behaviour decides first: a worker that leaves is right on any
 * kernel.  One that lingers fails the test where the kernel promises better,
 * and skips it elsewhere.
 */
#define ASSERT_WORKERS_EXIT(workers, end)					\
do {										\
	const Exit seen = (workers).await_exit(end);				\
										\
	if (seen.fate == Exit::lingering && !exit_on_idle_promise())		\
		SKIP(return, "%s", skip::no_promise);				\
	ASSERT_EQ(Exit::gone, seen.fate) explain(_metadata, workers, seen);	\
	TH_LOG("workers left %.3f ms after close()", seen.spent.count() / 1e3);	\
} while (0)

/* Each of @workers, or SQPOLL threads, leaves as its task ends, on any kernel. */
#define ASSERT_WORKERS_END(workers)						\
do {										\
	const Exit seen = (workers).await_exit();				\
										\
	ASSERT_EQ(Exit::gone, seen.fate) explain(_metadata, workers, seen);	\
} while (0)

#endif /* PROMISE_HPP */
