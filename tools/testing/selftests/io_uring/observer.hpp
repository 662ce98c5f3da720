/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* An assertion about whoever is hindered by a worker, for tests to share. */
#ifndef OBSERVER_HPP
#define OBSERVER_HPP

#include <errno.h>

#include "child.hpp"
#include "promise.hpp"

/*
 * Asserts what @look() returns, an errno or a number: @disturbed while a worker is idle, and
 * @relieved once the worker has left with the last ring of its task.  The first shows that
 * @look() notices a worker at all, and must change nothing.
 */
#define ASSERT_RELIEVED(disturbed, relieved, look)				\
do {										\
	Uring ring;								\
	const int err = ring.open();						\
										\
	/* main() had a ring, but the test may have become another user. */	\
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
