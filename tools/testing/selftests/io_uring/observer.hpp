/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Those who trip over a worker, as an assertion that tests share. */
#ifndef OBSERVER_HPP
#define OBSERVER_HPP

#include <errno.h>

#include "child.hpp"
#include "promise.hpp"

/*
 * What @look() returns, an errno or a number: @disturbed while a worker is idle,
 * which shows that it does look, and @relieved once the worker left with the last
 * ring of its task.  With a disturbed look nothing must change.
 */
#define ASSERT_RELIEVED(disturbed, relieved, look)				\
do {										\
	Uring ring;								\
	const int err = ring.open();						\
										\
	/* For this user, that is: main() has seen that it is there. */		\
	if (err == -EPERM || err == -ENOMEM)					\
		SKIP(return, "%s", skip::not_this_user);			\
	ASSERT_EQ(0, err);							\
	const RingEnd end = ring.end();						\
										\
	ASSERT_EQ(0, serve(ring, Class::unbounded));				\
	const WorkerSet worker = WorkerSet::now();				\
										\
	ASSERT_EQ(1U, worker.count());						\
	ASSERT_EQ(disturbed, look());						\
	ring.close();								\
	ASSERT_WORKERS_EXIT(worker, end);					\
	ASSERT_EQ(relieved, look());						\
} while (0)

#endif /* OBSERVER_HPP */
