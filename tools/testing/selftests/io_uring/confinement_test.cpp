// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Workers run on no CPU that their task may not run on.  By cpuset(7), a cpuset's CPUs are those
 * "on which processes in that cpuset are allowed to execute", by
 * Documentation/admin-guide/cgroup-v2.rst those "to be used by tasks within this cgroup", and by
 * io_uring_register(2) workers "inherit the CPU mask" of their parent.  Containers that share a
 * machine, and CPUs that are isolated, rely on that.  A cpuset moves the workers that exist.  To
 * those that come later, io_init_new_worker() gives the mask that the pool was made with
 * (io_wq_create()), so that idle exit lets a task's workers out of its cpuset.
 */
#include "cgroup.hpp"
#include "cpus.hpp"
#include "promise.hpp"

namespace {

bool subset(const cpu_set_t &part, const cpu_set_t &whole)
{
	cpu_set_t both;

	CPU_AND(&both, &part, &whole);
	return CPU_EQUAL(&both, &part);
}

/* As in cpuset.cpus. */
std::string list(const cpu_set_t &set)
{
	std::string text;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			text += (text.empty() ? "" : ",") + std::to_string(cpu);
	return text;
}

/* The first of these workers that may run where its task may not, or -1. */
pid_t astray(const WorkerSet &workers)
{
	for (const pid_t tid : workers.tids())
		if (!subset(allowed_cpus(tid), allowed_cpus()))
			return tid;
	return -1;
}

} // namespace

/* To be used for workers that have run: before, they do not have their mask yet. */
#define ASSERT_CONFINED(workers)						\
do {										\
	const pid_t tid = astray(workers);					\
										\
	ASSERT_EQ(-1, tid)							\
	{									\
		TH_LOG("a worker may run on CPUs %s, its task only on %s",	\
		       list(allowed_cpus(tid)).c_str(), list(allowed_cpus()).c_str());	\
		TH_LOG("see io_init_new_worker() in io_uring/io-wq.c");		\
	}									\
} while (0)

/* Has three workers come. */
#define ASSERT_NEW_ONES_CONFINED(ring)						\
do {										\
	Work work(Class::bounded, 3);						\
										\
	ASSERT_EQ(0, work.submit(ring));					\
	const WorkerSet workers = WorkerSet::await(3);				\
										\
	ASSERT_LE(3U, workers.count());						\
	ASSERT_TRUE(workers.await_asleep());					\
	ASSERT_CONFINED(workers);						\
	ASSERT_EQ(0, work.release());						\
	ASSERT_EQ(0, (ring).reap(3));						\
} while (0)

FIXTURE(cpuset)
{
	Cgroup *cgroup;
};

enum class Change { move, rewrite, move_with_affinity, move_then_affinity_undone };

FIXTURE_VARIANT(cpuset)
{
	Change how;
	/* Whether workers come beside others, or after all others have left. */
	bool surplus;
};

FIXTURE_VARIANT_ADD(cpuset, moved_then_idle) { .how = Change::move, .surplus = false };
FIXTURE_VARIANT_ADD(cpuset, moved_then_busy) { .how = Change::move, .surplus = true };
FIXTURE_VARIANT_ADD(cpuset, rewritten_then_idle)
{
	.how = Change::rewrite, .surplus = false
};
FIXTURE_VARIANT_ADD(cpuset, rewritten_then_busy)
{
	.how = Change::rewrite, .surplus = true
};
FIXTURE_VARIANT_ADD(cpuset, moved_off_its_affinity)
{
	.how = Change::move_with_affinity, .surplus = true
};
FIXTURE_VARIANT_ADD(cpuset, moved_and_affinity_undone)
{
	.how = Change::move_then_affinity_undone, .surplus = true
};

FIXTURE_SETUP(cpuset)
{
	const cpu_set_t ours = allowed_cpus();

	if (CPU_COUNT(&ours) < 2)
		SKIP(return, "%s", skip::one_cpu);
	self->cgroup = new Cgroup;
	if (self->cgroup->make_cpuset())
		SKIP(return, "%s", skip::no_cpuset);
	ASSERT_EQ(0, self->cgroup->allow(list(allowed_cpus())));
}

FIXTURE_TEARDOWN(cpuset)
{
	delete self->cgroup;
}

TEST_F(cpuset, binds_workers_to_come)
{
	const cpu_set_t first = allowed_cpu(0), second = allowed_cpu(1);
	const Change how = variant->how;
	Uring ring;

	if (how == Change::rewrite) {
		ASSERT_EQ(0, self->cgroup->enter());
	}
	ASSERT_EQ(0, ring.open());
	if (how == Change::move_with_affinity || how == Change::move_then_affinity_undone) {
		ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(first), &first));
	}
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet before = WorkerSet::now();

	ASSERT_EQ(1U, before.count());
	ASSERT_EQ(0, self->cgroup->allow(list(second)));
	if (how != Change::rewrite) {
		ASSERT_EQ(0, self->cgroup->enter());
	}
	const cpu_set_t ours = allowed_cpus();

	ASSERT_TRUE(CPU_EQUAL(&ours, &second))
	{
		TH_LOG("on CPUs %s", list(ours).c_str());
	}
	if (how == Change::move_then_affinity_undone) {
		ASSERT_EQ(0, io_uring_unregister_iowq_aff(ring.get()));
	}
	ASSERT_CONFINED(before);

	if (!variant->surplus) {
		const RingEnd end = ring.end();

		ring.close();
		ASSERT_WORKERS_EXIT(before, end);
		ASSERT_EQ(0, ring.open());
	}
	ASSERT_NEW_ONES_CONFINED(ring);
}

/* A task cannot let its workers out of its cpuset, not even by their affinity. */
TEST(affinity_beyond_is_refused)
{
	const cpu_set_t first = allowed_cpu(0), second = allowed_cpu(1);
	Cgroup cpuset;
	Uring ring;

	if (CPU_EQUAL(&first, &second))
		SKIP(return, "%s", skip::one_cpu);
	if (cpuset.make_cpuset())
		SKIP(return, "%s", skip::no_cpuset);
	ASSERT_EQ(0, cpuset.allow(list(first)));
	ASSERT_EQ(0, cpuset.enter());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(-EINVAL, io_uring_register_iowq_aff(ring.get(), sizeof(second), &second))
	{
		TH_LOG("CPUs outside of the cpuset were taken: see io_wq_cpu_affinity()");
	}
}

/* io_wq_cpu_online() adds a CPU that comes back to all pools: not to this one. */
TEST(cpu_comes_back)
{
	const std::string online = hotplug_file(first_cpu(allowed_cpu(1)));
	Janitor cleanup;
	Cgroup cpuset;
	Uring ring;

	if (const char *why = must_not_disturb())
		SKIP(return, "%s", why);
	if (online.empty())
		SKIP(return, "%s", skip::no_hotplug);
	if (cpuset.make_cpuset())
		SKIP(return, "%s", skip::no_cpuset);
	ASSERT_EQ(0, cpuset.allow(list(allowed_cpu(0))));
	ASSERT_EQ(0, cpuset.enter());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	ASSERT_EQ(0, cleanup.start([=] { return put(online, "1") == 0; }));
	if (put(online, "0"))
		SKIP(return, "%s", skip::no_hotplug);
	ASSERT_EQ(0, put(online, "1"));
	ASSERT_NEW_ONES_CONFINED(ring);
}

TEST_HARNESS_MAIN
