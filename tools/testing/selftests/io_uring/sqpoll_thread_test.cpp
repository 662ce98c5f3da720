// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The workers of an SQPOLL thread are bound like those of a task, by what is registered
 * with its ring: io_uring_register_iowq_max_workers(3) and io_uring_register_iowq_aff(3)
 * except no ring.  Its thread serves nobody but its process: io_uring_setup(2) has it
 * shared by IORING_SETUP_ATTACH_WQ, and __io_uring_setup() must not share it with
 * strangers, whose requests would be done as another process.  Nor does it hold rings: one
 * is released with its last descriptor, to close(2), whatever its thread is kept from.
 * For all who use SQPOLL.  See io_sqpoll_wq_cpu_affinity(), io_attach_sq_data() and
 * io_sq_thread_stop().
 */
#include <errno.h>
#include <sched.h>

#include "child.hpp"
#include "harness.hpp"
#include "promise.hpp"
#include "tracer.hpp"

static int open_sqpoll(Uring &ring, int wq_fd = -1)
{
	struct io_uring_params p = {};

	p.flags = IORING_SETUP_SQPOLL | (wq_fd < 0 ? 0 : IORING_SETUP_ATTACH_WQ);
	p.sq_thread_idle = 1;
	p.wq_fd = static_cast<__u32>(wq_fd);
	return ring.open(p);
}

const char *program_cannot_test(char **)
{
	Uring ring;
	const int err = open_sqpoll(ring);

	return err == -EPERM || err == -EACCES ? skip::no_sqpoll : nullptr;
}

TEST(limits_hold_for_its_workers)
{
	constexpr unsigned limits[2] = { 2, 3 };
	unsigned set[2] = { limits[0], limits[1] }, told[2] = {};
	Work bounded(Class::bounded, 6), unbounded(Class::unbounded, 6), late(Class::bounded);
	Uring ring;

	ASSERT_EQ(0, open_sqpoll(ring));
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), set));
	/* Zeroes ask. */
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), told));
	ASSERT_EQ(limits[0], told[0]) TH_LOG("see io_register_iowq_max_workers()");
	ASSERT_EQ(limits[1], told[1]) TH_LOG("see io_register_iowq_max_workers()");
	ASSERT_EQ(0, bounded.submit(ring));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet workers = WorkerSet::await(5);

	ASSERT_EQ(5U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	/* With no worker free, only the limit is against another. */
	ASSERT_EQ(0, late.submit(ring));
	ASSERT_TRUE(WorkerSet::sqpoll().await_asleep());
	ASSERT_EQ(5U, WorkerSet::now().count())
	{
		TH_LOG("the limits are 2 and 3 workers: see io_register_iowq_max_workers()");
	}
	for (Work *work : { &bounded, &unbounded, &late }) {
		ASSERT_EQ(0, work->release());
	}
	ASSERT_EQ(0, ring.reap(13));
}

TEST(affinity_holds_for_its_workers)
{
	const cpu_set_t first = allowed_cpu(0), last = allowed_cpu(CPU_SETSIZE);
	Work work(Class::bounded, 3);
	Uring ring;

	if (CPU_EQUAL(&first, &last))
		SKIP(return, "%s", skip::one_cpu);
	ASSERT_EQ(0, open_sqpoll(ring));
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(last), &last))
		TH_LOG("see io_sqpoll_wq_cpu_affinity(), since v6.6");
	ASSERT_EQ(0, work.submit(ring));

	const WorkerSet workers = WorkerSet::await(3);

	ASSERT_LE(3U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	for (const pid_t tid : workers.tids()) {
		cpu_set_t seen;

		ASSERT_EQ(0, sched_getaffinity(tid, sizeof(seen), &seen));
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

	ASSERT_EQ(0, open_sqpoll(ring));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet thread = WorkerSet::sqpoll(), worker = WorkerSet::now();

	ASSERT_EQ(1U, thread.count());
	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring attached;

		if (open_sqpoll(attached, ring.fd()) || serve(attached, Class::bounded))
			return 1;
		self.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());
	ASSERT_EQ(1U, WorkerSet::sqpoll(child.pid()).count())
	{
		TH_LOG("a stranger's ring is served by our thread: see io_attach_sq_data()");
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
	/* Another ring keeps the thread alive. */
	bool shared;
};

FIXTURE_VARIANT_ADD(stopped, with_another_ring) { .shared = true };
FIXTURE_VARIANT_ADD(stopped, with_its_last_ring) { .shared = false };

/*
 * By a debugger, which takes one thread of the process.  Each ring that does not end has
 * one of the 64 places of the machine: see stranger_test.
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

		if (open_sqpoll(first) || (shared && open_sqpoll(second, first.fd())) ||
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
	/* The worker lets go of its request last, and has the thread free it. */
	ASSERT_TRUE(WorkerSet::now(child.pid()).await_asleep());
	ASSERT_TRUE(thread.await_asleep());
	if (trace(thread.tid()))
		SKIP(return, "%s", skip::no_ptrace);
	ASSERT_EQ(0, stop_traced(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step()) TH_LOG("close(2) waits for an SQPOLL thread that is stopped");
	ASSERT_TRUE(end.await())
	{
		TH_LOG("a closed ring waits for its SQPOLL thread, which is stopped");
		TH_LOG("see io_sq_thread_stop() in io_uring/sqpoll.c");
	}
	ASSERT_EQ(0, let_go(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
