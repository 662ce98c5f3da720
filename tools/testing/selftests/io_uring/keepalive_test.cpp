// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Exit-on-idle changes nothing for a task that still has a ring: surplus idle workers leave
 * after their time-out of 5 s, and the last one of each class stays for the next request.
 * Programs that use io_uring all the time rely on that.  io_wq_worker() decides it.
 */
#include "promise.hpp"

TEST(one_worker_of_each_class_stays)
{
	/* A jiffy or two early, as the kernel rounds. */
	constexpr milliseconds idle_timeout{4'950};
	Work bounded(Class::bounded, 4), unbounded(Class::unbounded, 4);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, bounded.submit(ring));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet busy = WorkerSet::await(8);
	const Deadline idle(limit::event + limit::event);

	ASSERT_LE(8U, busy.count());
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.reap(8));
	ASSERT_TRUE(busy.await_asleep());

	const WorkerSet all = WorkerSet::now();

	ASSERT_GT(all.count(), all.await_count(all.count() - 1, idle));
	EXPECT_TRUE(idle.spent() >= idle_timeout)
	{
		TH_LOG("the first surplus worker left after %.3f s", idle.spent().count() / 1e6);
	}
	ASSERT_EQ(2U, all.await_count(2, idle))
	{
		TH_LOG("%.3f s after the last request", idle.spent().count() / 1e6);
	}

	/* The last ones have timed out by now, too, as all became idle at once. */
	EXPECT_EQ(2U, all.await_count(1, Deadline(limit::grace)))
	{
		dump_threads();
	}

	/* They are of both classes, as none is missing. */
	const WorkerSet stayed = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, stayed.serve(ring, Class::bounded, 1));
	ASSERT_EQ(1U, stayed.serve(ring, Class::unbounded, 1));
	ring.close();
	ASSERT_WORKERS_EXIT(stayed, end);
}

TEST_HARNESS_MAIN
