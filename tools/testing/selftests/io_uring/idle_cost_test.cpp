// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * An idle worker, and an SQPOLL thread without work, take no CPU time: they sleep, and are not
 * woken.  By io_uring_setup(2) the thread "will go to sleep" after sq_thread_idle, and on a ring
 * with IORING_SETUP_R_DISABLED "submissions are not allowed", so that its thread has nothing to do
 * either.  No manual says it of workers.  Programs that keep rings open on machines with a battery
 * rely on that.  io_wq_worker() and io_sq_thread() put themselves to sleep.
 */
#include "harness.hpp"
#include "workers.hpp"

/* Asserts that the one of @thread falls asleep, and then sleeps for a second without a break. */
#define ASSERT_SLEEPS(thread, function)						\
do {										\
	ASSERT_EQ(1U, (thread).count());					\
	ASSERT_TRUE((thread).await_asleep())					\
	{									\
		TH_LOG("it has nothing to do, and does not sleep: see %s", function); \
	}									\
	ASSERT_TRUE((thread).sleep_on(milliseconds(1'000)))			\
	{									\
		TH_LOG("it has nothing to do, but was woken: see %s", function); \
	}									\
} while (0)

FIXTURE(idle) {};
FIXTURE_SETUP(idle) {}
FIXTURE_TEARDOWN(idle) {}

FIXTURE_VARIANT(idle)
{
	Class kind;
};

FIXTURE_VARIANT_ADD(idle, bounded) { .kind = Class::bounded };
FIXTURE_VARIANT_ADD(idle, unbounded) { .kind = Class::unbounded };
FIXTURE_VARIANT_ADD(idle, hashed) { .kind = Class::hashed };

TEST_F(idle, worker_sleeps)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, variant->kind));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_SLEEPS(worker, "io_wq_worker()");
	ASSERT_EQ(1U, worker.serve(ring, variant->kind, 1));
}

TEST(sqpoll_thread_and_its_worker_sleep)
{
	Uring ring;
	const int err = ring.open_sqpoll();

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now(), thread = WorkerSet::sqpoll();

	ASSERT_SLEEPS(thread, "io_sq_thread()");
	ASSERT_SLEEPS(worker, "io_wq_worker()");
	ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
}

/* One that had no work since it was made is idle as well. */
TEST(sqpoll_thread_of_new_ring_sleeps)
{
	Uring ring;
	const int err = ring.open_sqpoll();

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);

	const WorkerSet thread = WorkerSet::await_sqpoll();

	ASSERT_SLEEPS(thread, "io_sq_thread()");
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1));
}

/* An entry of the submission queue is no work as long as it may not be submitted. */
TEST(sqpoll_thread_of_disabled_ring_sleeps)
{
	/* Time for the entry to be queued before the thread falls asleep the first time. */
	constexpr unsigned idle_ms = 100;
	Uring ring;
	const int err = ring.open_sqpoll(IORING_SETUP_R_DISABLED, idle_ms);

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	/* This queues the entry.  Its system call fails, as the ring is disabled. */
	io_uring_submit(ring.get());

	const WorkerSet thread = WorkerSet::await_sqpoll();

	ASSERT_SLEEPS(thread, "io_sq_thread()");
	ASSERT_EQ(0, ring.enable());
	ASSERT_LE(0, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1));
}

TEST_HARNESS_MAIN
