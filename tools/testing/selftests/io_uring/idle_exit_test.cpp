// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Idle io-wq workers leave once their task has closed its last ring, whatever they worked
 * on and however the ring was set up.  Then a process is as single-threaded as its author
 * made it, which CRIU, unshare(CLONE_NEWUSER) and everybody who counts threads rely on.
 * io_uring_del_tctx_node() tells the workers to leave, by io_wq_set_exit_on_idle().
 */
#include <sched.h>

#include "promise.hpp"

/*
 * Asserts in three ways that do not depend on each other that this process has one thread.
 * Workers that came after the test took its snapshot (see WorkerSet::await()) have to leave
 * before.
 */
#define ASSERT_SINGLE_THREADED(end)						\
do {										\
	if (const WorkerSet late = WorkerSet::now(); late.count())		\
		ASSERT_WORKERS_EXIT(late, end);					\
	ASSERT_EQ(0U, WorkerSet::now().count());				\
	ASSERT_EQ(1, thread_count());						\
	/* Changes nothing.  EINVAL with another thread, as check_unshare_flags() has it. */ \
	ASSERT_NE(EINVAL, unshare(CLONE_THREAD) ? errno : 0);			\
} while (0)

FIXTURE(work) {};
FIXTURE_SETUP(work) {}
FIXTURE_TEARDOWN(work) {}

FIXTURE_VARIANT(work)
{
	unsigned bounded = 0;
	unsigned unbounded = 0;
	unsigned hashed = 0;
};

FIXTURE_VARIANT_ADD(work, bounded) { .bounded = 1 };
FIXTURE_VARIANT_ADD(work, unbounded) { .unbounded = 1 };
FIXTURE_VARIANT_ADD(work, hashed) { .hashed = 8 };
FIXTURE_VARIANT_ADD(work, both_classes) { .bounded = 1, .unbounded = 1 };
FIXTURE_VARIANT_ADD(work, eight_of_each) { .bounded = 8, .unbounded = 8 };

/* The kernel has to wake each of them, or all but the last would stay for 5 s. */
TEST_F(work, last_ring_closed)
{
	Work bounded(Class::bounded, variant->bounded);
	Work unbounded(Class::unbounded, variant->unbounded);
	Work hashed(Class::hashed, variant->hashed);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	/* With one CPU, only 4 bounded workers would be allowed (io_init_wq_offload()). */
	ASSERT_EQ(0, ring.limit_workers(8, 8));
	const RingEnd end = ring.end();

	for (Work *work : { &bounded, &unbounded, &hashed }) {
		ASSERT_EQ(0, work->submit(ring));
	}

	/* All requests wait at once, each in a worker; the hashed ones share one. */
	const unsigned at_least = variant->bounded + variant->unbounded + !!variant->hashed;
	const WorkerSet workers = WorkerSet::await(at_least);

	/* Other processes may have taken the room for threads, as with a small kernel.pid_max. */
	if (workers.count() < at_least)
		if (const char *why = cannot_test())
			SKIP(return, "%s", why);
	ASSERT_LE(at_least, workers.count());

	for (Work *work : { &bounded, &unbounded, &hashed }) {
		ASSERT_EQ(0, work->release());
	}
	ASSERT_EQ(0, ring.reap(variant->bounded + variant->unbounded + variant->hashed));
	ASSERT_EQ(workers.count(), workers.alive());

	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_SINGLE_THREADED(end);
}

FIXTURE(setup) {};
FIXTURE_SETUP(setup) {}
FIXTURE_TEARDOWN(setup) {}

FIXTURE_VARIANT(setup)
{
	unsigned flags = 0;
};

FIXTURE_VARIANT_ADD(setup, defer_taskrun)
{
	.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
};
FIXTURE_VARIANT_ADD(setup, coop_taskrun) { .flags = IORING_SETUP_COOP_TASKRUN };
FIXTURE_VARIANT_ADD(setup, r_disabled) { .flags = IORING_SETUP_R_DISABLED };
FIXTURE_VARIANT_ADD(setup, cqe32_sqe128) { .flags = IORING_SETUP_CQE32 | IORING_SETUP_SQE128 };
FIXTURE_VARIANT_ADD(setup, no_sqarray) { .flags = IORING_SETUP_NO_SQARRAY };

TEST_F(setup, last_ring_closed)
{
	Uring ring;
	const int err = ring.open(variant->flags);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err);
	if (variant->flags & IORING_SETUP_R_DISABLED) {
		ASSERT_EQ(0, ring.enable());
	}

	const RingEnd end = ring.end();

	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet workers = WorkerSet::now();

	ASSERT_EQ(1U, workers.count());
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_SINGLE_THREADED(end);
}

TEST(completions_unreaped)
{
	Work work(Class::bounded, 4);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, work.submit(ring));
	const WorkerSet workers = WorkerSet::await(4);

	ASSERT_LE(4U, workers.count());
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(4U, ring.await_ready(4));
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_SINGLE_THREADED(end);
}

FIXTURE(in_flight) {};
FIXTURE_SETUP(in_flight) {}
FIXTURE_TEARDOWN(in_flight) {}

FIXTURE_VARIANT(in_flight)
{
	Class kind = Class::bounded;
};

FIXTURE_VARIANT_ADD(in_flight, bounded) { .kind = Class::bounded };
FIXTURE_VARIANT_ADD(in_flight, unbounded) { .kind = Class::unbounded };

/* The ring's end has to cancel the requests that workers are blocked in, and queued ones. */
TEST_F(in_flight, last_ring_closed)
{
	Work work(variant->kind, 4);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, work.submit(ring));
	const WorkerSet workers = WorkerSet::await(4);

	ASSERT_LE(4U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_SINGLE_THREADED(end);
}

/* A worker has armed a poll for the request, which waits without the worker from then on. */
TEST(poll_armed)
{
	struct io_uring_sqe *sqe;
	char byte;
	PipeEnds pipe;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, pipe.open());
	sqe = io_uring_get_sqe(ring.get());
	io_uring_prep_read(sqe, pipe.rd.get(), &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, io_uring_submit(ring.get()));

	const WorkerSet workers = WorkerSet::await(1);

	ASSERT_LE(1U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_SINGLE_THREADED(end);
}

TEST_HARNESS_MAIN
