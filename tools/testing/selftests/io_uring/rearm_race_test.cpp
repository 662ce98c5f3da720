// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * No request is stranded: a request that comes while an idle worker is on its way out, or goes to
 * sleep, is done at once, by that worker or another.  Programs that close their only ring and go
 * on with another one, and those that submit one request after the other, rely on that.
 * io_wq_enqueue() goes by a list of idle workers, and a worker has to look at the work once more
 * when it is off that list (io_worker_retire(), io_wq_worker()).
 */
#include <sys/epoll.h>

#include "harness.hpp"
#include "peer.hpp"
#include "race.hpp"

static void explain(struct __test_metadata *_metadata, const Moment &moment, Chore &chore,
		    Uring &ring, Completion seen, const char *hint)
{
	TH_LOG("%s, %s", describe(seen), moment.describe().c_str());
	if (seen != Completion::lost)
		return;

	const bool helps = chore.submit(ring) == 0 && await_done(ring, 2) == Completion::done;

	TH_LOG("another request %s", helps ? "gets this one done, too" : "does not help");
	TH_LOG("%s", hint);
}

constexpr char leaving[] = "v7.3.2 cures this: see io_worker_retire() in io_uring/io-wq.c";
constexpr char going_idle[] = "see io_wq_worker() in io_uring/io-wq.c";

/* @nr requests of @chore are done, though the last of them came at this @moment. */
#define ASSERT_DONE(ring, nr, moment, chore, hint)				\
do {										\
	const Completion seen = await_done(ring, nr);				\
										\
	ASSERT_EQ(Completion::done, seen)					\
		explain(_metadata, moment, chore, ring, seen, hint);		\
} while (0)

FIXTURE(new_work) {};
FIXTURE_SETUP(new_work) {}
FIXTURE_TEARDOWN(new_work) {}

FIXTURE_VARIANT(new_work)
{
	Punt how = Punt::concurrent;
};

FIXTURE_VARIANT_ADD(new_work, concurrent) { .how = Punt::concurrent };
FIXTURE_VARIANT_ADD(new_work, natural) { .how = Punt::natural };

TEST_F_TIMEOUT(new_work, meets_leaving_worker, 170)
{
	const Fd nothing = Fd::from(epoll_create1(EPOLL_CLOEXEC));
	Chore chore(variant->how);
	Uring ring, next;
	PeerThread peer;

	/* With one worker, no other can do what it has left behind. */
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(1, 1));
	Moment moment(ring);

	while (moment.next()) {
		struct epoll_event event;

		ASSERT_EQ(0, chore.submit(ring));
		ASSERT_DONE(ring, 1, moment, chore, leaving);
		const WorkerSet worker = WorkerSet::await_idle();

		ASSERT_EQ(1U, worker.count());
		ASSERT_TRUE(worker.asleep());
		moment.arm(worker);

		/* This task begins to use the ring, which another made, as it submits. */
		ASSERT_EQ(0, peer.run([&] { return next.open(); }));
		ring.close();
		/* Interrupted by the task work that tells the worker to leave. */
		epoll_wait(nothing.get(), &event, 1, 500);
		const bool stopped = moment.await(worker);

		ASSERT_EQ(0, chore.submit(next));
		ASSERT_DONE(next, 1, moment, chore, leaving);
		/* Where another worker has come, the one that was leaving has to leave. */
		const WorkerSet both = WorkerSet::now();

		ASSERT_FALSE(both.count() > 1 && both.await_count(1, Deadline(limit::grace)) > 1 &&
			     both.asleep())
		{
			TH_LOG("a worker stayed beyond the limit, %s", moment.describe().c_str());
		}
		/* If the worker is still there, the moment was too early: it did this one, too. */
		moment.steer(stopped && worker.alive(), stopped && !worker.alive());
		std::swap(ring, next);
	}
	if (!moment.met())
		SKIP(return, "%s", skip::no_aim);
	TH_LOG("%s", moment.tried().c_str());
}

FIXTURE(next_work) {};
FIXTURE_SETUP(next_work) {}
FIXTURE_TEARDOWN(next_work) {}

/* A request is left to the worker that runs, as long as that does not sleep. */
TEST_F_TIMEOUT(next_work, meets_worker_going_idle, 170)
{
	Chore chore(Punt::natural);
	Uring ring;

	/* With one worker, no other can do what it has left behind. */
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(1, 1));
	Moment moment(ring);

	ASSERT_EQ(0, chore.submit(ring));
	ASSERT_DONE(ring, 1, moment, chore, going_idle);
	while (moment.next()) {
		const WorkerSet worker = WorkerSet::await_idle();

		ASSERT_EQ(1U, worker.count());
		ASSERT_TRUE(worker.asleep());
		moment.arm(worker);
		ASSERT_EQ(0, chore.submit(ring));
		const bool stopped = moment.await(worker);
		const bool done = io_uring_cq_ready(ring.get());

		ASSERT_EQ(0, chore.submit(ring));
		ASSERT_DONE(ring, 2, moment, chore, going_idle);
		moment.steer(stopped, stopped && done);
	}
	if (!moment.met())
		SKIP(return, "%s", skip::no_aim);
	TH_LOG("%s", moment.tried().c_str());
}

TEST_HARNESS_MAIN
