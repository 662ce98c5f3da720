// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A task ends at once, even if requests are queued or linked behind those that its workers are
 * blocked in.  The end of the task interrupts a worker only once, so that the worker must not block
 * in another request after that.  Programs that end threads, exit or execute others with I/O under
 * way rely on that.  io_worker_handle_work() has to look for the end of its task before each
 * request (CVE-2026-99228), and has to keep linked requests where io_wq_cancel_cb() finds them
 * (CVE-2026-99255).
 */
#include <poll.h>
#include <signal.h>

#include "child.hpp"
#include "peer.hpp"
#include "promise.hpp"

FIXTURE(thread) {};
FIXTURE_SETUP(thread) {}
FIXTURE_TEARDOWN(thread) {}

FIXTURE_VARIANT(thread)
{
	Class kind = Class::bounded;
	/* With IOSQE_IO_HARDLINK the requests are done one after the other, even if one fails. */
	unsigned flags = 0;
};

FIXTURE_VARIANT_ADD(thread, with_bounded_queued) { .kind = Class::bounded };
FIXTURE_VARIANT_ADD(thread, with_bounded_linked)
{
	.kind = Class::bounded,
	.flags = IOSQE_IO_HARDLINK
};
FIXTURE_VARIANT_ADD(thread, with_unbounded_queued) { .kind = Class::unbounded };
FIXTURE_VARIANT_ADD(thread, with_unbounded_linked)
{
	.kind = Class::unbounded,
	.flags = IOSQE_IO_HARDLINK
};

constexpr unsigned requests = 4;

/* Says why the worker should have left, and lets its task end after all. */
static void explain(struct __test_metadata *_metadata, const WorkerSet &worker, const Exit &seen,
		    Work &work)
{
	explain(_metadata, worker, seen);
	TH_LOG("v7.3.2 cures this: see io_worker_handle_work() in io_uring/io-wq.c");
	work.release();
}

/* The process goes on, so that only the end of the thread's pool interrupts the worker. */
TEST_F(thread, is_not_kept)
{
	PeerThread peer;
	Work work(variant->kind, requests, variant->flags);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, peer.run([&] { return work.occupy(ring); }));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());

	peer.end();
	const Exit seen = worker.await_exit();

	ASSERT_EQ(Exit::gone, seen.fate)
	{
		explain(_metadata, worker, seen, work);
	}
	peer.join();
	ASSERT_EQ(0, ring.discard(requests))
	{
		TH_LOG("a request of the thread was lost");
	}
}

/*
 * A thread ends.  Requests that another thread has submitted to the same ring go on: those that
 * workers of either class are blocked in, those that wait for a worker, and a poll.  Both threads
 * poll another ring, as the end of a task looks for such polls: see io_uring_cancel_generic().
 */
TEST(requests_of_others_go_on)
{
	PeerThread peer;
	Work bounded(Class::bounded, 2), unbounded(Class::unbounded, 2);
	Work theirs(Class::unbounded);
	Uring ring, polled;
	const auto poll_it = [&] {
		io_uring_prep_poll_add(io_uring_get_sqe(ring.get()), polled.fd(), POLLIN);
		return io_uring_submit(ring.get());
	};

	ASSERT_EQ(0, polled.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, bounded.occupy(ring));
	ASSERT_EQ(0, unbounded.submit(ring));
	ASSERT_EQ(1, poll_it());

	const WorkerSet ours = WorkerSet::await(2);

	ASSERT_EQ(2U, ours.count());
	ASSERT_EQ(0, peer.run([&] { return theirs.submit(ring); }));
	ASSERT_EQ(1, peer.run(poll_it));

	const WorkerSet others = WorkerSet::await(3).without(ours);

	ASSERT_EQ(1U, others.count());
	ASSERT_TRUE(others.await_asleep());

	peer.end();
	ASSERT_WORKERS_END(others);
	peer.join();
	ASSERT_EQ(0, ring.discard(2)) TH_LOG("a request of the thread was lost");

	ASSERT_EQ(0U, io_uring_cq_ready(ring.get()))
	{
		TH_LOG("the end of a thread ended a request of another: see io_match_task_safe()");
	}
	ASSERT_EQ(2U, ours.alive());
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.reap(4));
	io_uring_prep_nop(io_uring_get_sqe(polled.get()));
	ASSERT_EQ(1, io_uring_submit(polled.get()));
	ASSERT_EQ(0, ring.reap(1, POLLIN));
}

FIXTURE(process) {};
FIXTURE_SETUP(process) {}
FIXTURE_TEARDOWN(process) {}

FIXTURE_VARIANT(process)
{
	bool execs = false;
	unsigned flags = 0;
};

FIXTURE_VARIANT_ADD(process, exits_with_queue) { .execs = false };
FIXTURE_VARIANT_ADD(process, exits_with_links) { .execs = false, .flags = IOSQE_IO_HARDLINK };
FIXTURE_VARIANT_ADD(process, execs_with_queue) { .execs = true };
FIXTURE_VARIANT_ADD(process, execs_with_links) { .execs = true, .flags = IOSQE_IO_HARDLINK };

TEST_F(process, is_not_kept)
{
	Work work(Class::bounded, requests, variant->flags);
	Process child;

	ASSERT_EQ(0, work.open());
	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring ring;

		if (ring.open() || work.occupy(ring))
			return 1;
		self.step();
		if (variant->execs)
			Process::become_another();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet worker = WorkerSet::await(1, child.pid());

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	ASSERT_EQ(0, child.go());
	const Exit seen = worker.await_exit();

	ASSERT_EQ(Exit::gone, seen.fate)
	{
		explain(_metadata, worker, seen, work);
	}
	ASSERT_EQ(variant->execs, child.await_step());
	if (!variant->execs) {
		ASSERT_EQ(0, child.await_end());
	}
}

/*
 * The owner waits in vfork(2) for its child, so that it runs no task work.  Its only worker blocks
 * with a request queued, and asks the owner for another worker.  The owner must not make that one
 * as it is killed, either.
 */
TEST(creation_pending_as_process_is_killed)
{
	Work first(Class::bounded), next(Class::bounded, 2);
	Process owner, vforked;

	ASSERT_EQ(0, first.open());
	ASSERT_EQ(0, next.open());
	ASSERT_EQ(0, vforked.open());
	ASSERT_EQ(0, owner.start([&](Process &) {
		Uring ring;

		if (ring.open() || first.occupy(ring) || next.submit(ring))
			return 1;
		return vforked.run_in_vfork([&](Process &self) {
			self.step();
			/* The child shares the ring's memory, and sees that the worker goes on. */
			while (!io_uring_cq_ready(ring.get()))
				poll(nullptr, 0, 1);
			self.step();
			return 1;
		});
	}));
	ASSERT_TRUE(vforked.await_step());

	const WorkerSet worker = WorkerSet::await(1, owner.pid());

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, first.release());
	ASSERT_EQ(0, vforked.go());
	ASSERT_TRUE(vforked.await_step());
	ASSERT_TRUE(worker.await_asleep());
	ASSERT_EQ(0, owner.signal(SIGKILL));
	const Exit seen = worker.await_exit();

	ASSERT_EQ(Exit::gone, seen.fate)
	{
		explain(_metadata, worker, seen, next);
	}
	ASSERT_EQ(SIGKILL, owner.await_end());
}

TEST_HARNESS_MAIN
