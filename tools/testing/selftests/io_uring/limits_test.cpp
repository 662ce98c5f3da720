// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The limits of IORING_REGISTER_IOWQ_MAX_WORKERS hold for threads that begin to use the ring while
 * the limits are set, and after a worker has left that had asked for another one.  Services that
 * must not have more threads than they are allowed rely on that.
 * __io_uring_add_tctx_node() passes the limits on, and io_worker_cancel_cb() must not give back a
 * slot that was never taken.
 */
#include <algorithm>
#include <array>
#include <atomic>
#include <sys/resource.h>
#include <thread>

#include "limited.hpp"
#include "peer.hpp"
#include "promise.hpp"

constexpr unsigned limit_of_two = 2;

TEST(set_while_threads_come)
{
	std::atomic<bool> stop = false;
	std::atomic<int> failed = 0;
	std::array<std::thread, 2> setters;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(limit_of_two, limit_of_two));
	for (std::thread &setter : setters)
		setter = std::thread([&] {
			while (!stop && !failed) {
				failed = ring.limit_workers(limit_of_two, limit_of_two);
				std::this_thread::yield();
			}
		});
	for (int i = 0; i < 20; i++) {
		PeerThread peer;
		const auto submit = [&](Work &work) {
			return peer.run([&] { return work.submit(ring); });
		};

		ASSERT_LIMITED(ring, limit_of_two, 0U, submit, "__io_uring_add_tctx_node()");

		const WorkerSet workers = WorkerSet::now();

		peer.end();
		ASSERT_WORKERS_END(workers);
	}
	ASSERT_EQ(0, failed.load());
	stop = true;
	for (std::thread &setter : setters)
		setter.join();
}

/*
 * A worker leaves that has asked for another one in vain, as its owner waits in vfork(2):
 *
 *    owner         first worker                second worker    queued
 *    -----         ------------                -------------    ------
 *    submits       blocked in "first"          in "second"      "next", "last"
 *    vfork(2)
 *      |           "first" is released: goes
 *      |           on with "next", and asks
 *      |           for a worker for "last"     in "second"      "last"
 *      |           both are released: does
 *      |           them, and is idle           in "second"
 *      |           leaves after 5 s, and its
 *      |           wish for another worker is
 *      |           cancelled                   in "second"
 *      |                                       is released, and idle
 *    goes on, and
 *    submits more than two workers could do at once
 *
 * The wish had taken no slot yet.  A kernel that gives one back in io_worker_cancel_cb(), as
 * if it had, allows three workers in the end.
 */
TEST(creation_pending_as_worker_leaves)
{
	/* Up to half a second late, as the kernel rounds. */
	constexpr milliseconds idle_timeout{5'600};
	Work first(Class::bounded), second(Class::bounded);
	Work next(Class::bounded), last(Class::bounded);
	Process vforked;
	PeerThread peer;
	Uring ring;
	int err = -1;
	const auto submit = [&](Work &work) {
		return peer.run([&] { return work.submit(ring); });
	};

	ASSERT_EQ(0, vforked.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(limit_of_two, limit_of_two));
	for (Work *work : { &first, &second, &next, &last }) {
		ASSERT_EQ(0, submit(*work));
	}

	const WorkerSet both = WorkerSet::await(limit_of_two);

	ASSERT_EQ(limit_of_two, both.count());
	ASSERT_TRUE(both.await_asleep());

	std::thread owner_waits([&] {
		err = peer.run([&] {
			return vforked.run_in_vfork([](Process &self) {
				self.step();
				return 0;
			});
		});
	});
	ASSERT_TRUE(vforked.await_step());

	/* The next one is for the first worker, which blocks in it with the last queued. */
	ASSERT_EQ(0, first.release());
	ASSERT_EQ(0, ring.reap(1));
	ASSERT_TRUE(both.await_asleep());
	for (Work *work : { &next, &last }) {
		ASSERT_EQ(0, work->release());
		ASSERT_EQ(0, ring.reap(1));
	}
	if (both.await_count(1, Deadline(idle_timeout)) == 1)
		TH_LOG("the worker left");
	ASSERT_EQ(0, second.release());
	ASSERT_EQ(0, ring.reap(1));

	ASSERT_EQ(0, vforked.go());
	owner_waits.join();
	ASSERT_EQ(0, err);
	for (int i = 0; i < 2; i++)
		ASSERT_LIMITED(ring, limit_of_two, 0U, submit,
			       "io_worker_cancel_cb(), mended in v7.2.1 and 6.18.47");
}

/* RLIMIT_NPROC bounds these limits for root as well, who may fork in spite of it. */
TEST(no_higher_than_rlimit_nproc)
{
	unsigned seen[2] = {};
	struct rlimit nproc;
	Uring ring;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = std::min<rlim_t>(100, nproc.rlim_max);
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(1000, 1000));
	/* Zeroes ask for the limits that are set. */
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), seen));
	ASSERT_EQ(nproc.rlim_cur, seen[0]);
	ASSERT_EQ(nproc.rlim_cur, seen[1]);
}

TEST_HARNESS_MAIN
