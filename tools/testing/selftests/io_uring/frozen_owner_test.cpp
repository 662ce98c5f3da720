// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that is frozen by a cgroup does not run, and neither do its workers; and the cgroup
 * says all the time that it is frozen.  After the thaw the process goes on, and its workers leave
 * with its last ring.  By cgroup-v2.rst of the kernel's admin-guide, "all processes in the cgroup
 * will be stopped" until the thaw, and by freezer-subsystem.rst of cgroup 1, FROZEN ones "will not
 * run".  Whoever saves power or moves containers relies on that.  Signals and task work wake
 * workers, which must then look for the freezer: get_signal() in io_wq_worker() does so.
 */
#include <errno.h>
#include <thread>
#include <time.h>

#include "cgroup.hpp"
#include "child.hpp"
#include "promise.hpp"

namespace {

/* The CPU time of @pid and all its threads. */
std::chrono::nanoseconds cpu_time(pid_t pid)
{
	struct timespec time = {};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &time);
	return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/*
 * True once @pid has used no CPU time at all for 300 ms.  How much it uses until then says little:
 * in a guest, the time that others take from the CPU counts as well.
 */
bool await_rest(pid_t pid)
{
	const Deadline deadline(limit::event);

	while (!deadline.over()) {
		const auto before = cpu_time(pid);

		deadline.back_off(300);
		if (cpu_time(pid) == before)
			return true;
	}
	return false;
}

/* Submits @nr time-outs, of which one is due each 25 ms.  0, or -errno. */
int submit_timeouts(Uring &ring, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct __kernel_timespec time = { .tv_sec = 0,
						  .tv_nsec = (50 + 25 * i) * 1'000'000L };

		/* The kernel copies the time at submission. */
		io_uring_prep_timeout(io_uring_get_sqe(ring.get()), &time, 0, 0);
		if (const int ret = io_uring_submit(ring.get()); ret != 1)
			return ret < 0 ? ret : -EIO;
	}
	return 0;
}

} // namespace

FIXTURE(frozen)
{
	Cgroup *freezer;
};

FIXTURE_SETUP(frozen)
{
	self->freezer = new Cgroup;
	if (self->freezer->make_freezer())
		SKIP(return, "%s", skip::no_freezer);
}

FIXTURE_TEARDOWN(frozen)
{
	delete self->freezer;
}

FIXTURE_VARIANT(frozen)
{
	/* Whether a thread of the process waits for completions, in the kernel. */
	bool waits = false;
	/* Whether requests, time-outs, complete while it is frozen. */
	bool completes = false;
	/* Whether its ring is closed while it is frozen, by the parent, who closes it last. */
	bool closes = false;
};

FIXTURE_VARIANT_ADD(frozen, workers) {};
FIXTURE_VARIANT_ADD(frozen, waiting_for_completions) { .waits = true };
FIXTURE_VARIANT_ADD(frozen, with_completions) { .waits = true, .completes = true };
FIXTURE_VARIANT_ADD(frozen, as_its_ring_is_closed) { .closes = true };

TEST_F(frozen, does_not_run)
{
	const unsigned timeouts = variant->completes ? 20 : 0;
	const Cgroup &freezer = *self->freezer;
	Work busy(Class::unbounded);
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, child.start([&](Process &us) {
		const unsigned want = 1 + timeouts;

		/* The bounded worker is idle then, and the unbounded one is blocked. */
		if (serve(ring, Class::bounded) || busy.submit(ring))
			return 1;
		if (variant->closes) {
			if (busy.release() || ring.reap(1))
				return 2;
			ring.close();
		}
		if (submit_timeouts(ring, timeouts))
			return 3;
		std::thread waiter([&] {
			struct io_uring_cqe *cqe;

			/* The freezer interrupts the wait. */
			while (variant->waits && io_uring_wait_cqe_nr(ring.get(), &cqe, want)) {
			}
		});

		us.step();
		if (!variant->closes)
			busy.release();
		waiter.join();
		if (!variant->closes && ring.discard(want))
			return 4;
		us.step();
		ring.close();
		us.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());

	const pid_t pid = child.pid();
	const WorkerSet workers = WorkerSet::await(2, pid);

	ASSERT_EQ(2U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ASSERT_EQ(0, freezer.enter(pid));
	ASSERT_EQ(0, freezer.freeze())
	{
		TH_LOG("a process with workers cannot be frozen: see io_wq_worker()");
	}
	ring.close();

	for (int look = 0; look < 20; look++) {
		Deadline(limit::grace).back_off(30);
		ASSERT_TRUE(freezer.frozen())
		{
			TH_LOG("at look %d the process is frozen no more: see io_wq_worker()",
			       look);
		}
	}
	/* Completions, which are over by now, may have taken some time for their task work. */
	ASSERT_TRUE(await_rest(pid))
	{
		TH_LOG("a frozen process goes on to run: see io_wq_worker()");
	}
	ASSERT_EQ(2U, workers.alive());

	ASSERT_EQ(0, freezer.thaw());
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	if (!variant->closes) {
		ASSERT_TRUE(workers.await_asleep())
		{
			TH_LOG("a worker does not go on after a thaw: see io_wq_worker()");
		}
	}
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
