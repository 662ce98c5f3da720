// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A pool whose workers left with the task's last ring works again with the next ring:
 * workers come back and stay, no request is lost, limits and affinity hold, and nothing is
 * leaked.  Programs that open and close rings as they go rely on that.
 * __io_uring_add_tctx_node() clears exit-on-idle as a task begins to use a ring.
 */
#include <thread>

#include "cpus.hpp"
#include "limited.hpp"
#include "promise.hpp"

/* Uses a ring, closes it, and awaits that the pool is empty. */
#define ASSERT_IDLE_EXIT(ring)						\
do {									\
	const RingEnd last = (ring).end();				\
	WorkerSet left;							\
									\
	ASSERT_EQ(0, serve(ring, Class::bounded));			\
	left = WorkerSet::now();					\
	(ring).close();							\
	ASSERT_WORKERS_EXIT(left, last);				\
} while (0)

FIXTURE(reuse) {};
FIXTURE_SETUP(reuse) {}
FIXTURE_TEARDOWN(reuse) {}

FIXTURE_VARIANT(reuse)
{
	Class kind = Class::bounded;
};

FIXTURE_VARIANT_ADD(reuse, bounded) { .kind = Class::bounded };
FIXTURE_VARIANT_ADD(reuse, unbounded) { .kind = Class::unbounded };
FIXTURE_VARIANT_ADD(reuse, hashed) { .kind = Class::hashed };

TEST_F(reuse, new_ring_keeps_worker)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_IDLE_EXIT(ring);

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, variant->kind));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(64U, worker.serve(ring, variant->kind, 64));

	const RingEnd end = ring.end();

	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

/* The exit may come before, amidst or after the work on the next ring. */
TEST(reuse_before_exit)
{
	Uring ring;

	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, ring.open());
		ASSERT_EQ(0, serve(ring, i % 2 ? Class::bounded : Class::unbounded))
		{
			TH_LOG("request of ring %d", i);
		}
		ring.close();
	}
	ASSERT_EQ(0, ring.open());
	ASSERT_IDLE_EXIT(ring);
}

/* The task has not set up this ring, and begins to use it by submitting to it. */
TEST(first_submit_keeps_worker)
{
	Uring ring, made_elsewhere;
	int err = 0;

	std::thread([&] { err = made_elsewhere.open(); }).join();
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, ring.open());
	ASSERT_IDLE_EXIT(ring);

	ASSERT_EQ(0, serve(made_elsewhere, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(64U, worker.serve(made_elsewhere, Class::bounded, 64));

	const RingEnd end = made_elsewhere.end();

	made_elsewhere.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

/* The task remembers by address which ring it used last (tctx->last). */
TEST(ring_in_the_place_of_the_last)
{
	Uring ring;
	int err = 0;

	for (int i = 0; i < 8; i++) {
		std::thread([&] { err = ring.open(); }).join();
		ASSERT_EQ(0, err);
		ASSERT_EQ(0, serve(ring, Class::bounded));

		const WorkerSet worker = WorkerSet::now();
		const RingEnd end = ring.end();

		ASSERT_EQ(1U, worker.count())
		{
			TH_LOG("ring %d", i);
		}
		ASSERT_EQ(4U, worker.serve(ring, Class::bounded, 4))
		{
			TH_LOG("ring %d", i);
		}
		ring.close();
		ASSERT_WORKERS_EXIT(worker, end);
	}
}

TEST(limits_hold)
{
	constexpr unsigned bounded = 2, unbounded = 3;
	Uring ring;
	const auto submit = [&](Work &work) { return work.submit(ring); };

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(bounded, unbounded));
	ASSERT_IDLE_EXIT(ring);

	/* Workers beyond the limit may be late (see WorkerSet::await()), but hardly each time. */
	ASSERT_EQ(0, ring.open());
	for (int i = 0; i < 4; i++) {
		ASSERT_LIMITED(ring, bounded, unbounded, submit, "io_wq_max_workers()");
		ASSERT_EQ(bounded + unbounded, WorkerSet::now().count());
	}

	/* Zeroes ask for the limits that are set. */
	for (int i = 0; i < 2; i++) {
		unsigned seen[2] = {};

		ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), seen));
		ASSERT_EQ(bounded, seen[0]);
		ASSERT_EQ(unbounded, seen[1]);
	}
}

TEST(affinity_holds)
{
	const cpu_set_t first = allowed_cpu(0), last = allowed_cpu(CPU_SETSIZE);
	Uring ring;

	if (CPU_EQUAL(&first, &last))
		SKIP(return, "%s", skip::one_cpu);

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(last), &last));
	ASSERT_IDLE_EXIT(ring);

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	const cpu_set_t seen = allowed_cpus(worker.tid());

	EXPECT_TRUE(CPU_EQUAL(&last, &seen))
	{
		TH_LOG("the worker may run on %d CPUs, not just on CPU %d",
		       CPU_COUNT(&seen), first_cpu(last));
	}
}

TEST(cycles_leak_nothing)
{
	size_t files = 0;
	int kilobytes = 0;
	Uring ring;

	for (int i = 0; i < 200; i++) {
		ASSERT_EQ(0, ring.open());
		if (i % 20) {
			ASSERT_EQ(0, serve(ring, Class::bounded))
			{
				TH_LOG("cycle %d", i);
			}
			ring.close();
			continue;
		}
		ASSERT_IDLE_EXIT(ring);
		ASSERT_EQ(1, thread_count());

		/* What is made once, like the heap, is there after two rounds. */
		if (i <= 20) {
			files = open_files();
			kilobytes = address_space_kb();
		}
		ASSERT_EQ(files, open_files());
		ASSERT_EQ(kilobytes, address_space_kb());
	}
}

/* This is the last test, as it takes a second: it has to see that nothing happens. */
TEST(idle_worker_stays)
{
	Uring ring, other;

	ASSERT_EQ(0, ring.open());
	ASSERT_IDLE_EXIT(ring);

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	/* The end of another ring makes the kernel decide about idle workers. */
	ASSERT_EQ(0, other.open());
	const RingEnd end = other.end();

	other.close();
	ASSERT_TRUE(end.await());
	ASSERT_TRUE(worker.stay(milliseconds(1000)));
	ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
}

TEST_HARNESS_MAIN
