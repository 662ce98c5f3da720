// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * An SQPOLL thread is no loophole.  Its workers keep to the limits and the affinity that are
 * registered with its ring, as io_uring_register_iowq_max_workers(3) and
 * io_uring_register_iowq_aff(3) except no ring.  Rings of another process cannot share it by
 * IORING_SETUP_ATTACH_WQ, as their requests would be done by the wrong process.  And a ring ends
 * with its last descriptor even if its thread is stopped, as by close(2) "the resources associated
 * with the open file description are freed" then.  All who use SQPOLL rely on that.
 * See io_sqpoll_wq_cpu_affinity(), io_attach_sq_data() and io_sq_thread_stop().
 */
#include <errno.h>

#include "child.hpp"
#include "cpus.hpp"
#include "limited.hpp"
#include "promise.hpp"
#include "tracer.hpp"

/* A ring that is to share the SQPOLL thread of the ring @wq_fd. */
static int open_attached(Uring &ring, int wq_fd)
{
	return ring.open_sqpoll(IORING_SETUP_ATTACH_WQ, 1, wq_fd);
}

const char *program_cannot_test(char **)
{
	Uring ring;
	const int err = ring.open_sqpoll();

	return err == -EPERM || err == -EACCES ? skip::no_sqpoll : nullptr;
}

TEST(limits_hold_for_its_workers)
{
	constexpr unsigned bounded = 2, unbounded = 3;
	unsigned told[2] = {};
	Uring ring;
	const auto submit = [&](Work &work) { return work.submit(ring); };

	ASSERT_EQ(0, ring.open_sqpoll());
	ASSERT_EQ(0, ring.limit_workers(bounded, unbounded));
	/* Zeroes ask for the limits that are set. */
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), told));
	ASSERT_EQ(bounded, told[0]) TH_LOG("see io_register_iowq_max_workers()");
	ASSERT_EQ(unbounded, told[1]) TH_LOG("see io_register_iowq_max_workers()");
	ASSERT_LIMITED(ring, bounded, unbounded, submit, "io_register_iowq_max_workers()");
}

/* Each of the rings that share a thread says when it sleeps, so that a submitter wakes it. */
TEST(rings_share_its_sleep)
{
	Uring first, second;

	ASSERT_EQ(0, first.open_sqpoll());
	ASSERT_EQ(0, open_attached(second, first.fd()));

	const WorkerSet thread = WorkerSet::await_sqpoll();

	ASSERT_EQ(1U, thread.count());
	for (Uring *ring : { &first, &second, &first }) {
		ASSERT_TRUE(thread.await_asleep());
		io_uring_prep_nop(io_uring_get_sqe(ring->get()));
		ASSERT_EQ(1, io_uring_submit(ring->get()));
		ASSERT_EQ(0, ring->reap(1))
		{
			TH_LOG("a request waits for a thread that sleeps: see io_sq_thread()");
		}
	}
}

TEST(affinity_holds_for_its_workers)
{
	const cpu_set_t first = allowed_cpu(0), last = allowed_cpu(CPU_SETSIZE);
	Work work(Class::bounded, 3);
	Uring ring;

	if (CPU_EQUAL(&first, &last))
		SKIP(return, "%s", skip::one_cpu);
	ASSERT_EQ(0, ring.open_sqpoll());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(last), &last))
	{
		TH_LOG("see io_sqpoll_wq_cpu_affinity(), since v6.6");
	}
	ASSERT_EQ(0, work.submit(ring));

	const WorkerSet workers = WorkerSet::await(3);

	ASSERT_LE(3U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	for (const pid_t tid : workers.tids()) {
		const cpu_set_t seen = allowed_cpus(tid);

		ASSERT_TRUE(CPU_EQUAL(&last, &seen))
		{
			TH_LOG("a worker may run on %d CPUs, not just on one", CPU_COUNT(&seen));
			TH_LOG("see io_sqpoll_wq_cpu_affinity() in io_uring/sqpoll.c");
		}
	}
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(0, ring.reap(3));
}

/* A ring that is attached to that of another process has a thread of its own. */
TEST(another_process_has_its_own)
{
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open_sqpoll());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet thread = WorkerSet::sqpoll(), worker = WorkerSet::now();

	ASSERT_EQ(1U, thread.count());
	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring attached;

		if (open_attached(attached, ring.fd()) || serve(attached, Class::bounded))
			return 1;
		self.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());
	ASSERT_EQ(1U, WorkerSet::sqpoll(child.pid()).count())
	{
		TH_LOG("our thread serves a ring of another process: see io_attach_sq_data()");
	}
	ASSERT_EQ(1U, WorkerSet::now(child.pid()).count());
	ASSERT_TRUE(worker.tids() == WorkerSet::now().tids());
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
	ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
	ASSERT_EQ(1U, thread.alive());
}

FIXTURE(stopped) {};
FIXTURE_SETUP(stopped) {}
FIXTURE_TEARDOWN(stopped) {}

FIXTURE_VARIANT(stopped)
{
	/* Whether the thread has another ring, and so goes on after the end of this one. */
	bool shared;
};

FIXTURE_VARIANT_ADD(stopped, with_another_ring) { .shared = true };
FIXTURE_VARIANT_ADD(stopped, with_its_last_ring) { .shared = false };

/*
 * A debugger stops the SQPOLL thread alone, and its ring is closed.  A ring that does not end then
 * takes one of the 64 places that the whole machine has for ending rings: see stranger_test.
 */
TEST_F(stopped, holds_no_ring)
{
	const bool shared = variant->shared;
	PipeEnds ended;
	Process child;

	ASSERT_EQ(0, ended.open());
	const int files[] = { ended.wr.get(), -1 };

	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring first, second;
		Uring &ring = shared ? second : first;

		if (first.open_sqpoll() || (shared && open_attached(second, first.fd())) ||
		    serve(ring, Class::bounded) || io_uring_register_files(ring.get(), files, 2))
			return 1;
		ended.wr.close();
		self.step();
		ring.close();
		self.step();
		return 0;
	}));
	ended.wr.close();
	ASSERT_TRUE(child.await_step());

	const RingEnd end(std::move(ended.rd));
	const WorkerSet thread = WorkerSet::sqpoll(child.pid());

	ASSERT_EQ(1U, thread.count());
	/* The worker still refers to its request after the completion; the thread frees it. */
	ASSERT_TRUE(WorkerSet::now(child.pid()).await_asleep());
	ASSERT_TRUE(thread.await_asleep());
	if (trace(thread.tid()))
		SKIP(return, "%s", skip::no_ptrace);
	ASSERT_EQ(0, stop_traced(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step()) TH_LOG("close(2) waits for the stopped SQPOLL thread");
	ASSERT_TRUE(end.await())
	{
		TH_LOG("a closed ring does not end while its SQPOLL thread is stopped");
		TH_LOG("see io_sq_thread_stop() in io_uring/sqpoll.c");
	}
	ASSERT_EQ(0, let_go(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
