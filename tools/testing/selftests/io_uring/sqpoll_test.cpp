// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * With IORING_SETUP_SQPOLL a thread of its own, iou-sqp-<N>, submits the requests of a ring, so
 * that the pool behind them is that thread's.  Both end with the last ring that the thread
 * serves, and not before.  Programs that use SQPOLL and count threads rely on that.  Exit-on-idle
 * does not apply to this pool, as the thread has no tctx node: io_put_sq_data() stops the thread,
 * which ends its pool as it exits.
 */
#include <errno.h>
#include <signal.h>
#include <thread>

#include "child.hpp"
#include "promise.hpp"

const char *program_cannot_test(char **)
{
	Uring ring;
	const int err = ring.open_sqpoll();

	return err == -EPERM || err == -EACCES ? skip::no_sqpoll : nullptr;
}

FIXTURE(sqpoll) {};
FIXTURE_SETUP(sqpoll) {}
FIXTURE_TEARDOWN(sqpoll) {}

FIXTURE_VARIANT(sqpoll)
{
	unsigned flags = 0;
	/* Sets whether the thread sleeps or polls as the ring is closed. */
	unsigned idle_ms = 1;
	/* Whether its workers are blocked in requests then. */
	bool busy = false;
};

FIXTURE_VARIANT_ADD(sqpoll, asleep) { .idle_ms = 1 };
FIXTURE_VARIANT_ADD(sqpoll, polling) { .idle_ms = 10'000 };
FIXTURE_VARIANT_ADD(sqpoll, bound_to_cpu) { .flags = IORING_SETUP_SQ_AFF, .idle_ms = 1 };
FIXTURE_VARIANT_ADD(sqpoll, workers_busy) { .idle_ms = 1, .busy = true };

TEST_F(sqpoll, ring_ends_thread_and_pool)
{
	Work bounded(Class::bounded, 2), unbounded(Class::unbounded, 2);
	Uring ring;

	ASSERT_EQ(0, ring.open_sqpoll(variant->flags, variant->idle_ms));
	ASSERT_EQ(0, serve(ring, Class::bounded));
	ASSERT_EQ(0, bounded.submit(ring));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet workers = WorkerSet::await(4), thread = WorkerSet::sqpoll();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, thread.count());
	ASSERT_LE(4U, workers.count());
	if (!variant->busy) {
		ASSERT_EQ(0, bounded.release());
		ASSERT_EQ(0, unbounded.release());
		ASSERT_EQ(0, ring.reap(4));
	}
	ring.close();
	ASSERT_TRUE(end.await());
	ASSERT_WORKERS_END(workers);
	ASSERT_WORKERS_END(thread);
	ASSERT_EQ(1, thread_count());
}

FIXTURE(attached) {};
FIXTURE_SETUP(attached) {}
FIXTURE_TEARDOWN(attached) {}

FIXTURE_VARIANT(attached)
{
	/* Whether the ring goes that the thread was made for, or the one that joined it. */
	bool first_ends_first;
};

FIXTURE_VARIANT_ADD(attached, first_ends_first) { .first_ends_first = true };
FIXTURE_VARIANT_ADD(attached, second_ends_first) { .first_ends_first = false };

TEST_F(attached, last_ring_ends_thread_and_pool)
{
	Uring first, second;

	ASSERT_EQ(0, first.open_sqpoll());
	ASSERT_EQ(0, second.open_sqpoll(IORING_SETUP_ATTACH_WQ, 1, first.fd()));
	ASSERT_EQ(0, serve(first, Class::bounded));

	const WorkerSet worker = WorkerSet::now(), thread = WorkerSet::sqpoll();

	ASSERT_EQ(1U, thread.count());
	ASSERT_EQ(1U, worker.count());

	Uring &goes = variant->first_ends_first ? first : second;
	Uring &stays = variant->first_ends_first ? second : first;
	const RingEnd early = goes.end(), late = stays.end();

	goes.close();
	ASSERT_TRUE(early.await());
	ASSERT_EQ(8U, worker.serve(stays, Class::bounded, 8));
	ASSERT_EQ(1U, thread.alive());

	stays.close();
	ASSERT_TRUE(late.await());
	ASSERT_WORKERS_END(worker);
	ASSERT_WORKERS_END(thread);
	ASSERT_EQ(1, thread_count());
}

FIXTURE(beside) {};
FIXTURE_SETUP(beside) {}
FIXTURE_TEARDOWN(beside) {}

FIXTURE_VARIANT(beside)
{
	bool sqpoll_ends_first;
};

FIXTURE_VARIANT_ADD(beside, sqpoll_ends_first) { .sqpoll_ends_first = true };
FIXTURE_VARIANT_ADD(beside, sqpoll_ends_last) { .sqpoll_ends_first = false };

/* To its task, a ring with SQPOLL is a ring like others: with it, the task's pool stays. */
TEST_F(beside, task_keeps_its_pool)
{
	Uring plain, sqpoll;

	ASSERT_EQ(0, plain.open());
	ASSERT_EQ(0, serve(plain, Class::bounded));

	const WorkerSet ours = WorkerSet::now();

	ASSERT_EQ(1U, ours.count());
	ASSERT_EQ(0, sqpoll.open_sqpoll());
	ASSERT_EQ(0, serve(sqpoll, Class::bounded));

	const WorkerSet theirs = WorkerSet::now().without(ours), thread = WorkerSet::sqpoll();
	const RingEnd plain_end = plain.end(), sqpoll_end = sqpoll.end();

	ASSERT_EQ(1U, theirs.count());
	if (!variant->sqpoll_ends_first) {
		plain.close();
		ASSERT_TRUE(plain_end.await());
		ASSERT_TRUE(ours.await_asleep());
		ASSERT_EQ(0, serve(sqpoll, Class::bounded));
		ASSERT_EQ(1U, theirs.alive());
	}

	sqpoll.close();
	ASSERT_TRUE(sqpoll_end.await());
	ASSERT_WORKERS_END(theirs);
	ASSERT_WORKERS_END(thread);
	if (variant->sqpoll_ends_first) {
		ASSERT_EQ(8U, ours.serve(plain, Class::bounded, 8));
		plain.close();
	}
	ASSERT_WORKERS_EXIT(ours, variant->sqpoll_ends_first ? plain_end : sqpoll_end);
}

/* The thread belongs to the process, not to the thread that made the ring. */
TEST(outlives_its_maker)
{
	Uring ring;
	int err = -1;

	std::thread([&] {
		err = ring.open_sqpoll();
		if (!err)
			err = serve(ring, Class::bounded);
	}).join();
	ASSERT_EQ(0, err);

	const WorkerSet worker = WorkerSet::now(), thread = WorkerSet::sqpoll();

	ASSERT_EQ(1U, thread.count());
	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));

	const RingEnd end = ring.end();

	ring.close();
	ASSERT_TRUE(end.await());
	ASSERT_WORKERS_END(worker);
	ASSERT_WORKERS_END(thread);
}

FIXTURE(process) {};
FIXTURE_SETUP(process) {}
FIXTURE_TEARDOWN(process) {}

FIXTURE_VARIANT(process)
{
	void (*end)();
	unsigned idle_ms = 1;
	bool execs = false;
};

FIXTURE_VARIANT_ADD(process, exits) { .end = [] { _exit(0); } };
FIXTURE_VARIANT_ADD(process, is_killed) { .end = [] { raise(SIGKILL); } };
FIXTURE_VARIANT_ADD(process, is_killed_polling)
{
	.end = [] { raise(SIGKILL); },
	.idle_ms = 10'000
};
FIXTURE_VARIANT_ADD(process, execs) { .end = Process::become_another, .execs = true };

TEST_F(process, ends_thread_and_pool)
{
	Process child;

	ASSERT_EQ(0, child.start([&](Process &self) {
		Work work(Class::unbounded, 2);
		Uring ring;

		if (ring.open_sqpoll(0, variant->idle_ms) || serve(ring, Class::bounded) ||
		    work.submit(ring))
			return 1;
		self.step();
		variant->end();
		return 1;
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet workers = WorkerSet::await(3, child.pid());
	const WorkerSet thread = WorkerSet::sqpoll(child.pid());

	ASSERT_EQ(3U, workers.count());
	ASSERT_EQ(1U, thread.count());
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(workers);
	ASSERT_WORKERS_END(thread);
	ASSERT_EQ(variant->execs, child.await_step());
}

TEST_HARNESS_MAIN
