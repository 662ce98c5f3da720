// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What idles costs nothing: an idle worker, and an SQPOLL thread without work, sleep and
 * are not woken.  To io_uring_setup(2) the thread "will go to sleep" after sq_thread_idle,
 * and a ring with IORING_SETUP_R_DISABLED is one where "submissions are not allowed"; of
 * workers no manual says it, but nobody could take a busy one for idle.  For batteries, and
 * for all who keep rings open.  io_wq_worker() and io_sq_thread() sleep.
 */
#include "harness.hpp"
#include "workers.hpp"

/* Each of @threads sleeps for a second from when it has fallen asleep. */
#define ASSERT_COSTS_NOTHING(threads, keeper)					\
do {										\
	ASSERT_EQ(1U, (threads).count());			\
	ASSERT_TRUE((threads).await_asleep())					\
	{									\
		TH_LOG("it has nothing to do, and does not sleep: see %s", keeper); \
	}									\
	ASSERT_TRUE((threads).sleep_on(milliseconds(1'000)))			\
	{									\
		TH_LOG("it has nothing to do, and was awake: see %s", keeper);	\
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

	ASSERT_COSTS_NOTHING(worker, "io_wq_worker()");
	ASSERT_EQ(1U, worker.serve(ring, variant->kind, 1));
}

static int open_sqpoll(Uring &ring, unsigned flags, unsigned idle_ms)
{
	struct io_uring_params p = {};

	p.flags = IORING_SETUP_SQPOLL | flags;
	p.sq_thread_idle = idle_ms;
	return ring.open(p);
}

TEST(sqpoll_thread_and_its_worker_sleep)
{
	Uring ring;
	const int err = open_sqpoll(ring, 0, 1);

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now(), thread = WorkerSet::sqpoll();

	ASSERT_COSTS_NOTHING(thread, "io_sq_thread()");
	ASSERT_COSTS_NOTHING(worker, "io_wq_worker()");
	ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
}

/* Whatever is queued already, as long as it may not be submitted. */
TEST(sqpoll_thread_of_disabled_ring_sleeps)
{
	/* The entry comes before the thread has fallen asleep for the first time. */
	constexpr unsigned idle_ms = 100;
	Uring ring;
	const int err = open_sqpoll(ring, IORING_SETUP_R_DISABLED, idle_ms);

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	/* Which cannot enter such a ring. */
	io_uring_submit(ring.get());

	const WorkerSet thread = WorkerSet::await_sqpoll();

	ASSERT_COSTS_NOTHING(thread, "io_sq_thread()");
	ASSERT_EQ(0, ring.enable());
	ASSERT_LE(0, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1));
}

TEST_HARNESS_MAIN
