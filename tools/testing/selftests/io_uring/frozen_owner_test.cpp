// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that is frozen with its workers does not run, and is told to be frozen at each
 * look; thawed, it goes on, and its workers leave with its last ring.  To Documentation/
 * admin-guide/cgroup-v2.rst "all processes in the cgroup will be stopped" until they are
 * thawed, and to freezer-subsystem.rst of the first version FROZEN ones "will not run".
 * For batteries, and for who moves containers.  Signals and task work wake workers, which
 * have to look for the freezer then: get_signal() in io_wq_worker() does so.
 */
#include <thread>
#include <time.h>

#include "cgroup.hpp"
#include "child.hpp"
#include "promise.hpp"

namespace {

/* The CPU time of @pid and all its threads. */
milliseconds cpu_time(pid_t pid)
{
	struct timespec time = {};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &time);
	return milliseconds(time.tv_sec * 1'000 + time.tv_nsec / 1'000'000);
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
	/* A thread waits in the kernel for completions. */
	bool waits = false;
	/* Requests that complete as it is frozen: time-outs. */
	bool completes = false;
	/* The other descriptor of its ring is closed as it is frozen. */
	bool closes = false;
};

FIXTURE_VARIANT_ADD(frozen, workers) {};
FIXTURE_VARIANT_ADD(frozen, waiting_for_completions) { .waits = true };
FIXTURE_VARIANT_ADD(frozen, with_completions) { .waits = true, .completes = true };
FIXTURE_VARIANT_ADD(frozen, as_its_ring_is_closed) { .closes = true };

TEST_F(frozen, does_not_run)
{
	constexpr unsigned nr = 20;
	const Cgroup &freezer = *self->freezer;
	Work busy(Class::unbounded);
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, child.start([&](Process &us) {
		struct __kernel_timespec times[nr] = {};
		const unsigned want = 1 + (variant->completes ? nr : 0);

		/* One worker is idle, another is busy. */
		if (serve(ring, Class::bounded) || busy.submit(ring))
			return 1;
		if (variant->closes) {
			if (busy.release() || ring.reap(1))
				return 2;
			ring.close();
		}
		for (unsigned i = 0; variant->completes && i < nr; i++) {
			times[i].tv_nsec = (50 + 25 * i) * 1'000'000L;
			io_uring_prep_timeout(io_uring_get_sqe(ring.get()), &times[i], 0, 0);
		}
		if (variant->completes && io_uring_submit(ring.get()) != nr)
			return 3;
		std::thread waiter([&] {
			struct io_uring_cqe *cqe;

			while (variant->waits && io_uring_wait_cqe_nr(ring.get(), &cqe, want)) {
			}
		});

		us.step();
		if (!variant->closes)
			busy.release();
		waiter.join();
		if (!variant->closes && ring.discard(want))
			return 4;
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
		TH_LOG("a process with workers cannot be frozen: see io_wq_worker()");
	ring.close();

	const milliseconds before = cpu_time(pid);

	for (int look = 0; look < 20; look++) {
		Deadline(limit::grace).back_off(30);
		ASSERT_TRUE(freezer.frozen())
		{
			TH_LOG("at look %d it is not frozen any more: see io_wq_worker()", look);
		}
	}
	/* Task work may pass, as of completions; that is not to run. */
	const milliseconds ran = cpu_time(pid) - before;

	ASSERT_GT(60, ran.count())
		TH_LOG("a frozen process ran for %lld ms: see io_wq_worker()",
		       static_cast<long long>(ran.count()));
	ASSERT_EQ(2U, workers.alive());

	ASSERT_EQ(0, freezer.thaw());
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
