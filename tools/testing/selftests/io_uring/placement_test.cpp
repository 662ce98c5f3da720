// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Wherever its worker may run, on the task's CPU or on another, a task loses no request, and the
 * worker leaves with the last ring.  A worker that is idle on a CPU that the pool has left leaves,
 * too.  Programs that place their threads rely on that.  create_io_worker() and io_wq_worker() go
 * by the pool's mask of CPUs.
 *
 * See placement_privileged_test for cpusets and CPUs that are unplugged.
 */

#include "cpus.hpp"
#include "promise.hpp"

FIXTURE(affinity) {};
FIXTURE_SETUP(affinity) {}
FIXTURE_TEARDOWN(affinity) {}

FIXTURE_VARIANT(affinity)
{
	/* The first or second CPU for the worker; the first is its task's. */
	int workers_cpu;
};

FIXTURE_VARIANT_ADD(affinity, same_cpu) { .workers_cpu = 0 };
FIXTURE_VARIANT_ADD(affinity, another_cpu) { .workers_cpu = 1 };

TEST_F(affinity, worker_leaves)
{
	const cpu_set_t ours = allowed_cpu(0), theirs = allowed_cpu(variant->workers_cpu);
	Uring ring;

	if (variant->workers_cpu && CPU_EQUAL(&ours, &theirs))
		SKIP(return, "%s", skip::one_cpu);
	if (sched_setaffinity(0, sizeof(ours), &ours))
		SKIP(return, "%s", skip::no_affinity);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(theirs), &theirs));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	const RingEnd end = ring.end();

	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

/* Each registration takes the place of the one before. */
TEST(affinity_is_moved)
{
	const cpu_set_t first = allowed_cpu(0), second = allowed_cpu(1);
	Uring ring;

	if (CPU_EQUAL(&first, &second))
		SKIP(return, "%s", skip::one_cpu);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(first), &first));
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(second), &second));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const cpu_set_t workers = allowed_cpus(WorkerSet::now().tid());

	ASSERT_TRUE(CPU_EQUAL(&second, &workers))
	{
		TH_LOG("the worker does not go by the newest mask: see io_wq_cpu_affinity()");
	}
}

/* By io_uring_unregister_iowq_aff(3): a worker may run again wherever its task may. */
TEST(affinity_is_undone)
{
	const cpu_set_t first = allowed_cpu(0), second = allowed_cpu(1);
	Uring ring;

	if (CPU_EQUAL(&first, &second))
		SKIP(return, "%s", skip::one_cpu);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(first), &first));
	ASSERT_EQ(0, io_uring_unregister_iowq_aff(ring.get()));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const cpu_set_t ours = allowed_cpus(), workers = allowed_cpus(WorkerSet::now().tid());

	ASSERT_TRUE(CPU_EQUAL(&ours, &workers))
	{
		TH_LOG("the worker may run on %d of %d CPUs: see io_wq_cpu_affinity()",
		       CPU_COUNT(&workers), CPU_COUNT(&ours));
	}
}

/* Such a worker leaves after 5 s, even if it is the last one and the ring is open. */
TEST(idle_where_it_should_not_be)
{
	const cpu_set_t first = allowed_cpu(0), second = allowed_cpu(1);
	Uring ring;

	if (CPU_EQUAL(&first, &second))
		SKIP(return, "%s", skip::one_cpu);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(first), &first));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(second), &second));
	/* These 5 s begin anew if the program is stopped meanwhile. */
	ASSERT_EQ(0U, worker.await_count(0, Deadline(2 * limit::event)));
	ASSERT_EQ(0, serve(ring, Class::bounded));
}

TEST_HARNESS_MAIN
