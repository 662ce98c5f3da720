// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A pool is not inherited: a forked child starts with a ring and no worker, and gets a pool of
 * its own with its first request.  Then parent and child keep their workers until nobody has
 * the ring, and each of them loses only its own as it ends.  Servers that fork after they set up
 * rings rely on that.  copy_process() resets tsk->io_uring.
 */
#include <signal.h>

#include "child.hpp"
#include "promise.hpp"

FIXTURE(shared) {};
FIXTURE_SETUP(shared) {}
FIXTURE_TEARDOWN(shared) {}

FIXTURE_VARIANT(shared)
{
	/* How the child lets go of the ring. */
	void (*let_go)(Uring &ring);
	bool goes_on = false;
};

FIXTURE_VARIANT_ADD(shared, child_closes)
{
	.let_go = [](Uring &ring) { ring.close(); },
	.goes_on = true
};
FIXTURE_VARIANT_ADD(shared, child_exits) { .let_go = [](Uring &) { _exit(0); } };
FIXTURE_VARIANT_ADD(shared, child_is_killed) { .let_go = [](Uring &) { raise(SIGKILL); } };
FIXTURE_VARIANT_ADD(shared, child_execs)
{
	.let_go = [](Uring &) { Process::become_another(); },
	.goes_on = true
};

/* The parent closes the ring first.  What the child does then ends both pools. */
TEST_F(shared, ring_ends_both_pools)
{
	Uring ring;
	Process child;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet ours = WorkerSet::now();

	ASSERT_EQ(1U, ours.count());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, child.start([&](Process &self) {
		self.step();
		if (serve(ring, Class::bounded))
			return 1;
		self.step();
		variant->let_go(ring);
		self.step();
		return 1;
	}));
	ASSERT_TRUE(child.await_step());
	ASSERT_EQ(1, thread_count(child.pid()));
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());

	const WorkerSet theirs = WorkerSet::now(child.pid());

	ASSERT_EQ(1U, theirs.count());
	ring.catch_up();
	ASSERT_EQ(8U, ours.serve(ring, Class::bounded, 8));

	ring.close();
	ASSERT_TRUE(others_end());
	ASSERT_FALSE(end.over());
	ASSERT_TRUE(ours.await_asleep());
	ASSERT_TRUE(theirs.await_asleep());

	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_EXIT(theirs, end);
	ASSERT_WORKERS_EXIT(ours, end);
	ASSERT_EQ(variant->goes_on, child.await_step());
}

/* The parent's worker goes on. */
TEST(child_ends_its_own_pool)
{
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet ours = WorkerSet::now();

	ASSERT_EQ(1U, ours.count());
	ASSERT_EQ(0, child.start([&](Process &self) {
		if (serve(ring, Class::bounded))
			return 1;
		self.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet theirs = WorkerSet::now(child.pid());

	ASSERT_EQ(1U, theirs.count());
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(theirs);
	ASSERT_EQ(0, child.await_end());
	ring.catch_up();
	ASSERT_EQ(8U, ours.serve(ring, Class::bounded, 8));
}

TEST_HARNESS_MAIN
