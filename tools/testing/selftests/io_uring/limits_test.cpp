// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The limits of IORING_REGISTER_IOWQ_MAX_WORKERS hold for threads that come to the ring while
 * they are set, and after a worker has left that had asked for another one in vain.  Where
 * RLIMIT_NPROC leaves no room for a worker, requests end all the same.  Services that must not
 * have more threads than they were allowed rely on that.
 * __io_uring_add_tctx_node() passes limits on, io_worker_cancel_cb() must give back no slot that
 * was not taken, and io_should_retry_thread() tries three times more.
 */
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <thread>

#include "peer.hpp"
#include "promise.hpp"

/*
 * Asserts that @nr workers come and no more, though there are three times as many requests,
 * and another one while all workers are blocked.  If more come, the function @keeper of the
 * kernel is at fault.
 */
#define ASSERT_LIMITED(nr, ring, submit, keeper)				\
do {										\
	Work many(Class::bounded, 3 * (nr)), late(Class::bounded);		\
										\
	ASSERT_EQ(0, submit(many));						\
	const WorkerSet seen = WorkerSet::await(nr);				\
										\
	ASSERT_EQ(nr, seen.count())						\
	{									\
		TH_LOG("the limit is %u workers: see %s", nr, keeper);		\
	}									\
	ASSERT_TRUE(seen.await_asleep());					\
	ASSERT_EQ(0, submit(late));						\
	ASSERT_EQ(nr, WorkerSet::now().count())					\
	{									\
		TH_LOG("the limit is %u workers: see %s", nr, keeper);		\
	}									\
	ASSERT_EQ(0, many.release());						\
	ASSERT_EQ(0, late.release());						\
	ASSERT_EQ(0, (ring).reap(3 * (nr) + 1));				\
} while (0)

constexpr unsigned limit_of_two = 2;

static int set_limits(Uring &ring)
{
	unsigned limits[2] = { limit_of_two, limit_of_two };

	return io_uring_register_iowq_max_workers(ring.get(), limits);
}

TEST(set_while_threads_come)
{
	std::atomic<bool> stop = false;
	std::atomic<int> failed = 0;
	std::array<std::thread, 2> setters;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, set_limits(ring));
	for (std::thread &setter : setters)
		setter = std::thread([&] {
			while (!stop && !failed) {
				failed = set_limits(ring);
				std::this_thread::yield();
			}
		});
	for (int i = 0; i < 20; i++) {
		auto peer = std::make_unique<PeerThread>();
		const auto submit = [&](Work &work) {
			return peer->run([&] { return work.submit(ring); });
		};

		ASSERT_LIMITED(limit_of_two, ring, submit, "__io_uring_add_tctx_node()");

		const WorkerSet workers = WorkerSet::now();

		/* The thread's end waits for its workers: so wait for both at the same time. */
		std::thread end_peer([&] { peer.reset(); });

		ASSERT_WORKERS_END(workers);
		end_peer.join();
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
	auto peer = std::make_unique<PeerThread>();
	Uring ring;
	int err = -1;
	const auto submit = [&](Work &work) {
		return peer->run([&] { return work.submit(ring); });
	};

	ASSERT_EQ(0, vforked.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, set_limits(ring));
	for (Work *work : { &first, &second, &next, &last }) {
		ASSERT_EQ(0, submit(*work));
	}

	const WorkerSet both = WorkerSet::await(limit_of_two);

	ASSERT_EQ(limit_of_two, both.count());
	ASSERT_TRUE(both.await_asleep());

	std::thread owner_waits([&] {
		err = peer->run([&] {
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
		ASSERT_LIMITED(limit_of_two, ring, submit,
			       "io_worker_cancel_cb(), mended in v7.2.1 and 6.18.47");
}

/* Unlike forks, these limits bind root as well. */
TEST(no_higher_than_rlimit_nproc)
{
	unsigned limits[2] = { 1000, 1000 }, seen[2] = {};
	struct rlimit nproc;
	Uring ring;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = std::min<rlim_t>(100, nproc.rlim_max);
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), limits));
	/* Zeroes ask for the limits that are set. */
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), seen));
	ASSERT_EQ(nproc.rlim_cur, seen[0]);
	ASSERT_EQ(nproc.rlim_cur, seen[1]);
}

/*
 * Becomes another user, as RLIMIT_NPROC never binds root.  Returns a null pointer, or why that
 * cannot be.
 */
static const char *become_bound()
{
	constexpr uid_t nobody = 65534;

	if (geteuid())
		return nullptr;
	if (setresuid(nobody, nobody, nobody))
		return skip::no_other_user;
	die_with_parent();
	/* Else /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);

	Uring ring;
	const int err = ring.open();

	return err == -EPERM || err == -ENOMEM ? skip::not_this_user : nullptr;
}

/* False if the limit does not bind us. */
static bool forbid_threads(const struct rlimit &nproc)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = nproc.rlim_max };

	setrlimit(RLIMIT_NPROC, &none);
	return in_child([] { return 0; }) < 0;
}

FIXTURE(without_threads) {};
FIXTURE_SETUP(without_threads) {}
FIXTURE_TEARDOWN(without_threads) {}

FIXTURE_VARIANT(without_threads)
{
	/* Threads are allowed again before the kernel gives up trying, which takes 30 ms. */
	bool only_at_first = false;
};

FIXTURE_VARIANT_ADD(without_threads, for_good) {};
FIXTURE_VARIANT_ADD(without_threads, at_first) { .only_at_first = true };

/*
 * Without exit-on-idle the old worker took the request.  Now there is none, and none can be
 * made, so that the kernel must not let the request wait for one.
 */
TEST_F(without_threads, request_ends)
{
	Work work(Class::bounded);
	struct rlimit nproc;
	Uring ring;

	if (const char *why = become_bound())
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	const WorkerSet old = WorkerSet::now();
	const RingEnd end = ring.end();

	ring.close();
	ASSERT_WORKERS_EXIT(old, end);

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	if (!forbid_threads(nproc))
		SKIP(return, "%s", skip::no_nproc_limit);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.submit(ring));
	if (variant->only_at_first) {
		ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
		ASSERT_EQ(1U, WorkerSet::await(1).count());
		ASSERT_EQ(0, work.release());
		ASSERT_EQ(0, ring.reap(1));
		return;
	}
	ASSERT_EQ(0, ring.reap(1, -ECANCELED));

	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(0, serve(ring, Class::bounded));
}

/* A worker that exists goes on, and leaves. */
TEST(process_limit_is_lowered)
{
	struct rlimit nproc;
	Uring ring;

	if (const char *why = become_bound())
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	if (!forbid_threads(nproc))
		SKIP(return, "%s", skip::no_nproc_limit);
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
