/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The limits of workers, as an assertion that tests share. */
#ifndef LIMITED_HPP
#define LIMITED_HPP

#include "harness.hpp"
#include "workers.hpp"

/*
 * Asserts that as many workers come as are allowed, and no more: though @submit() gets three times
 * as many requests of each class, and another one when all workers are blocked, so that nothing
 * but the limit keeps another worker away.  @function of the kernel keeps to the limit.
 */
#define ASSERT_LIMITED(ring, nr_bounded, nr_unbounded, submit, function)	\
do {										\
	const unsigned both = (nr_bounded) + (nr_unbounded);			\
	Work many(Class::bounded, 3 * (nr_bounded));				\
	Work others(Class::unbounded, 3 * (nr_unbounded)), late(Class::bounded);	\
										\
	ASSERT_EQ(0, submit(many));						\
	ASSERT_EQ(0, submit(others));						\
	const WorkerSet limited = WorkerSet::await(both);			\
										\
	ASSERT_EQ(both, limited.count())					\
	{									\
		TH_LOG("the limit is %u workers: see %s", both, function);	\
	}									\
	ASSERT_TRUE(limited.await_asleep());					\
	ASSERT_EQ(0, submit(late));						\
	/* Of a ring with SQPOLL, the thread has taken the request now. */	\
	ASSERT_TRUE(WorkerSet::sqpoll().await_asleep());			\
	ASSERT_EQ(both, WorkerSet::now().count())				\
	{									\
		TH_LOG("the limit is %u workers: see %s", both, function);	\
	}									\
	for (Work *work : { &many, &others, &late }) {				\
		ASSERT_EQ(0, work->release());					\
	}									\
	ASSERT_EQ(0, (ring).reap(3 * both + 1));				\
} while (0)

#endif /* LIMITED_HPP */
