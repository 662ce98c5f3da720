// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A worker that was told to leave, but has yet to run, stays if its task has a ring again by then.
 * Else a program that opens its next ring in time pays for a new thread with each request, for as
 * long as the ring is open.  __io_uring_add_tctx_node() arms the pool again, whatever workers are
 * there.  Here a worker is late because a debugger stops it.
 */
#include "child.hpp"
#include "harness.hpp"
#include "tracer.hpp"
#include "workers.hpp"

FIXTURE(worker) {};
FIXTURE_SETUP(worker) {}
FIXTURE_TEARDOWN(worker) {}

FIXTURE_VARIANT(worker)
{
	Class kind;
};

FIXTURE_VARIANT_ADD(worker, bounded) { .kind = Class::bounded };
FIXTURE_VARIANT_ADD(worker, unbounded) { .kind = Class::unbounded };

TEST_F(worker, stays_with_next_ring)
{
	Process child;

	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring ring;

		if (ring.open() || serve(ring, variant->kind))
			return 1;
		const RingEnd end = ring.end();

		self.step();
		ring.close();
		/* Workers have been told by then. */
		if (!end.await())
			return 2;
		if (ring.open())
			return 3;
		self.step();
		if (serve(ring, variant->kind))
			return 4;
		self.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());

	const pid_t pid = child.pid();
	const WorkerSet worker = WorkerSet::now(pid);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	if (trace(worker.tid()))
		SKIP(return, "%s", skip::no_ptrace);
	ASSERT_EQ(0, stop_traced(worker.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	ASSERT_EQ(0, let_go(worker.tid()));
	ASSERT_TRUE(worker.await_asleep())
	{
		TH_LOG("a worker leaves, though there is a ring again: see io_wq_set_exit_on_idle()");
	}
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	ASSERT_TRUE(worker.tids() == WorkerSet::now(pid).tids())
	{
		TH_LOG("requests had another worker: see io_wq_set_exit_on_idle()");
	}
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
