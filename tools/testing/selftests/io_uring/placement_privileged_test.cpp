// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * As placement_test, for a worker that is confined to a cpuset, or whose CPU is unplugged, as in
 * containers and virtual machines that are resized while they run.  A cpuset moves the workers
 * that exist like other threads, and io_wq_cpu_offline() tells the pools of CPUs that go.
 * confinement_test looks at workers that come later.
 */
#include "cgroup.hpp"
#include "cpus.hpp"
#include "promise.hpp"

/* The one worker does all requests, however it was moved, and leaves. */
#define ASSERT_SERVED_AND_EXIT(ring, worker)					\
do {										\
	const RingEnd end = (ring).end();					\
										\
	ASSERT_EQ(8U, (worker).serve(ring, Class::bounded, 8));			\
	(ring).close();								\
	ASSERT_WORKERS_EXIT(worker, end);					\
} while (0)

TEST(confined_to_cpuset)
{
	Cgroup cpuset;
	Uring ring;

	if (cpuset.make_cpuset())
		SKIP(return, "%s", skip::no_cpuset);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, cpuset.allow(std::to_string(first_cpu(allowed_cpu(1)))));
	ASSERT_EQ(0, cpuset.enter());
	ASSERT_SERVED_AND_EXIT(ring, worker);

	/* A new pool, in the cpuset from the start. */
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	ASSERT_EQ(0, cpuset.leave());
	ASSERT_SERVED_AND_EXIT(ring, WorkerSet::now());
}

/*
 * The pool may use this CPU alone.  Once that is unplugged, a worker that is idle for 5 s where
 * it should not be leaves, so that another one may do the requests.
 */
TEST(cpu_unplugged)
{
	const cpu_set_t theirs = allowed_cpu(1);
	const std::string online = hotplug_file(first_cpu(theirs));
	Janitor cleanup;
	Uring ring;

	if (const char *why = must_not_disturb())
		SKIP(return, "%s", why);
	if (online.empty())
		SKIP(return, "%s", skip::no_hotplug);
	ASSERT_EQ(0, cleanup.start([=] { return put(online, "1") == 0; }));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(theirs), &theirs));
	ASSERT_EQ(0, serve(ring, Class::bounded));
	if (put(online, "0"))
		SKIP(return, "%s", skip::no_hotplug);

	/* First without the CPU, then as it comes back to a pool that has workers. */
	for (const bool comes_back : { false, true }) {
		if (comes_back) {
			ASSERT_EQ(0, ring.open());
		}
		ASSERT_EQ(0, serve(ring, Class::bounded, 8));
		if (comes_back) {
			ASSERT_EQ(0, put(online, "1"));
			ASSERT_EQ(0, serve(ring, Class::bounded, 8));
		}

		const WorkerSet workers = WorkerSet::now();
		const RingEnd end = ring.end();

		ASSERT_LE(1U, workers.count());
		ring.close();
		ASSERT_WORKERS_EXIT(workers, end);
	}
}

TEST_HARNESS_MAIN
