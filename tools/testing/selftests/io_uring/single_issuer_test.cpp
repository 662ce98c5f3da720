// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring with IORING_SETUP_SINGLE_ISSUER belongs to one task.  By io_uring_setup(2) the kernel
 * fails requests of other tasks "with -EEXIST".  With IORING_SETUP_DEFER_TASKRUN completions wait
 * until that task asks for them; and though it will never do so as it ends, it ends at once.
 * Servers with one ring for each thread rely on that.  __io_uring_add_tctx_node_from_submit()
 * keeps other tasks out, and io_uring_try_cancel_requests() completes what is left.
 */
#include <errno.h>
#include <thread>

#include "child.hpp"
#include "peer.hpp"
#include "promise.hpp"

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

constexpr unsigned deferring = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

FIXTURE(other_thread) {};
FIXTURE_SETUP(other_thread) {}
FIXTURE_TEARDOWN(other_thread) {}

FIXTURE_VARIANT(other_thread)
{
	unsigned setup_flags;
};

FIXTURE_VARIANT_ADD(other_thread, single_issuer) { .setup_flags = IORING_SETUP_SINGLE_ISSUER };
FIXTURE_VARIANT_ADD(other_thread, deferring) { .setup_flags = deferring };

/* The ring belongs to the thread that made it.  Another thread can submit nothing to it. */
TEST_F(other_thread, is_kept_out)
{
	Work theirs(Class::bounded);
	int submitted = 0, registered = 0;
	PeerThread peer;
	Uring ring;
	const int err = ring.open(variant->setup_flags);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, peer.run([&] {
		unsigned ask[2] = {};

		submitted = theirs.submit(ring);
		registered = io_uring_register_iowq_max_workers(ring.get(), ask);
		return 0;
	}));
	ASSERT_EQ(-EEXIST, submitted)
	{
		TH_LOG("another thread may submit: see __io_uring_add_tctx_node_from_submit()");
	}
	ASSERT_EQ(-EEXIST, registered)
	{
		TH_LOG("another thread may register: see __io_uring_register()");
	}
	ASSERT_EQ(0U, WorkerSet::now().count());

	/* The entry that the other thread has queued can be submitted by the owner. */
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, theirs.release());
	ASSERT_EQ(0, ring.reap(1));
	ASSERT_EQ(1U, WorkerSet::now().count());
}

/* One that is made disabled is that of the thread which enables it. */
TEST(who_enables_it_is_let_in)
{
	Work ours(Class::bounded);
	PeerThread peer;
	Uring ring;
	const int err = ring.open(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, peer.run([&] { return ring.enable() ?: serve(ring, Class::bounded); }))
	{
		TH_LOG("who enabled the ring is kept out: see io_register_enable_rings()");
	}
	ASSERT_EQ(-EEXIST, ours.submit(ring))
	{
		TH_LOG("who made the ring may still submit: see io_register_enable_rings()");
	}
}

FIXTURE(deferred) {};
FIXTURE_SETUP(deferred) {}
FIXTURE_TEARDOWN(deferred) {}

enum class End { thread, exit, exec };

FIXTURE_VARIANT(deferred)
{
	/* The end of what: a thread, or the process, by exit(2) or execve(2). */
	End by;
};

FIXTURE_VARIANT_ADD(deferred, as_thread_ends) { .by = End::thread };
FIXTURE_VARIANT_ADD(deferred, as_process_exits) { .by = End::exit };
FIXTURE_VARIANT_ADD(deferred, as_process_execs) { .by = End::exec };

/*
 * Leaves requests that workers have done, but that are not completed, and others that workers are
 * blocked in.  None waits for a worker.  Returns 0 if all went well.
 */
static int leave_pending(Uring &ring, Work &done, Work &blocked)
{
	if (ring.open(deferring) || done.submit(ring) || blocked.submit(ring))
		return 1;

	const WorkerSet workers = WorkerSet::await(8);

	return workers.count() != 8 || !workers.await_asleep() || done.release();
}

/* The task does not wait for a request to be done, let alone for ever. */
TEST_F(deferred, ends_at_once)
{
	Work done(Class::unbounded, 4), blocked(Class::bounded, 4);
	Process child;

	if (Uring().open(deferring) == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, done.open());
	ASSERT_EQ(0, blocked.open());
	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring ring;
		int err = 0;

		if (variant->by == End::thread) {
			std::thread([&] {
				err = leave_pending(ring, done, blocked);
				self.step();
			}).join();
			self.step();
			return err;
		}
		err = leave_pending(ring, done, blocked);
		self.step();
		if (variant->by == End::exec)
			Process::become_another();
		return err;
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet workers = WorkerSet::await(4, child.pid());

	ASSERT_LE(4U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(workers);
	if (variant->by != End::exit) {
		ASSERT_TRUE(child.await_step())
		{
			TH_LOG("the task does not end: see io_uring_try_cancel_requests()");
		}
		ASSERT_EQ(0, child.go());
	}
	ASSERT_EQ(0, child.await_result(limit::prompt))
	{
		TH_LOG("the task does not end: see io_uring_try_cancel_requests()");
	}
}

TEST_HARNESS_MAIN
