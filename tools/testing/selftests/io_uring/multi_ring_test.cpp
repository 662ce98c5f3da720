// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The pool belongs to the task, not to the ring.  Workers stay as long as their task has any
 * ring, and leave with the last one, in whatever order the rings are closed, and by whichever
 * thread.  Libraries that use rings side by side rely on that.  io_uring_del_tctx_node() finds
 * in tctx->xa whether the ring was the last one.
 */
#include <algorithm>
#include <random>

#include "peer.hpp"
#include "promise.hpp"

FIXTURE(rings) {};
FIXTURE_SETUP(rings) {}
FIXTURE_TEARDOWN(rings) {}

FIXTURE_VARIANT(rings)
{
	unsigned nr;
	/* Puts the rings into the order of closing. */
	void (*arrange)(std::vector<Uring> &rings);
};

#define ORDER_ADD(order, ...)							\
	FIXTURE_VARIANT_ADD(rings, two_##order) { .nr = 2, .arrange = __VA_ARGS__ }; \
	FIXTURE_VARIANT_ADD(rings, eight_##order) { .nr = 8, .arrange = __VA_ARGS__ }; \
	FIXTURE_VARIANT_ADD(rings, sixty_four_##order) { .nr = 64, .arrange = __VA_ARGS__ }

ORDER_ADD(fifo, [](std::vector<Uring> &) {});
ORDER_ADD(lifo, [](std::vector<Uring> &rings) { std::ranges::reverse(rings); });
ORDER_ADD(shuffled, [](std::vector<Uring> &rings) {
	std::ranges::shuffle(rings, std::minstd_rand());
});

TEST_F_TIMEOUT(rings, last_one_ends_pool, 120)
{
	std::vector<Uring> rings(variant->nr);

	for (Uring &ring : rings) {
		ASSERT_EQ(0, ring.open());
	}
	ASSERT_EQ(0, serve(rings.front(), Class::bounded));

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	for (Uring &ring : rings) {
		ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
	}

	variant->arrange(rings);
	Uring &last = rings.back();

	for (size_t i = 0; i + 1 < rings.size(); i++) {
		/* Only some ends are awaited, as each takes a grace period of RCU. */
		const bool wait = std::has_single_bit(rings.size() - i - 1);
		const RingEnd end = rings[i].end();

		rings[i].close();
		ASSERT_TRUE(!wait || end.await())
		{
			TH_LOG("ring %zu was not freed", i);
		}
		ASSERT_EQ(1U, worker.serve(last, Class::bounded, 1))
		{
			TH_LOG("closed %zu of %zu rings", i + 1, rings.size());
		}
	}

	const RingEnd end = last.end();

	last.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

/* Without SQPOLL, IORING_SETUP_ATTACH_WQ changes nothing: rings of a task share its pool. */
TEST(attached_ring_keeps_worker)
{
	Uring ring, attached;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, attached.open(IORING_SETUP_ATTACH_WQ, ring.fd()));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end(), attached_end = attached.end();

	ASSERT_EQ(1U, worker.count());
	ring.close();
	ASSERT_TRUE(end.await());
	ASSERT_EQ(8U, worker.serve(attached, Class::bounded, 8));
	attached.close();
	ASSERT_WORKERS_EXIT(worker, attached_end);
}

FIXTURE(two_threads)
{
	PeerThread *peer;
};

FIXTURE_SETUP(two_threads)
{
	self->peer = new PeerThread;
}

FIXTURE_TEARDOWN(two_threads)
{
	delete self->peer;
}

TEST_F(two_threads, each_ends_its_own_pool)
{
	Uring ours, theirs;

	ASSERT_EQ(0, ours.open());
	ASSERT_EQ(0, serve(ours, Class::bounded));

	const WorkerSet our_worker = WorkerSet::now();

	ASSERT_EQ(0, self->peer->run([&] {
		const int err = theirs.open();

		return err ? err : serve(theirs, Class::bounded);
	}));

	const WorkerSet their_worker = WorkerSet::now().without(our_worker);
	const RingEnd our_end = ours.end(), their_end = theirs.end();

	ASSERT_EQ(1U, our_worker.count());
	ASSERT_EQ(1U, their_worker.count());

	ASSERT_EQ(0, self->peer->run([&] {
		theirs.close();
		return 0;
	}));
	ASSERT_WORKERS_EXIT(their_worker, their_end);
	ASSERT_EQ(8U, our_worker.serve(ours, Class::bounded, 8));

	ours.close();
	ASSERT_WORKERS_EXIT(our_worker, our_end);
}

TEST_F(two_threads, shared_ring_ends_both_pools)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	ASSERT_EQ(0, self->peer->run([&] { return serve(ring, Class::bounded); }));

	const WorkerSet workers = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(2U, workers.count());
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
}

/* The ring's end has to cancel the requests of all. */
TEST_F(two_threads, shared_ring_in_flight_ends_both_pools)
{
	Work our_work(Class::bounded), their_work(Class::bounded);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, our_work.submit(ring));
	ASSERT_EQ(0, self->peer->run([&] { return their_work.submit(ring); }));

	const WorkerSet workers = WorkerSet::await(2);

	ASSERT_EQ(2U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ring.close();
	ASSERT_WORKERS_EXIT(workers, end);
}

/* The ring keeps the limits, too, and passes them on to tasks that use it later. */
TEST_F(two_threads, limits_bind_the_newcomer)
{
	size_t workers = 0;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(1, 1));
	const RingEnd end = ring.end();

	for (Class c : { Class::bounded, Class::unbounded }) {
		Work work(c, 4);

		ASSERT_EQ(0, self->peer->run([&] { return work.submit(ring); }));
		workers++;
		ASSERT_TRUE(WorkerSet::await(workers).await_asleep());
		ASSERT_EQ(workers, WorkerSet::now().count());
		ASSERT_EQ(0, work.release());
		ASSERT_EQ(0, ring.reap(4));
		ASSERT_EQ(workers, WorkerSet::now().count());
	}

	const WorkerSet both = WorkerSet::now();

	ring.close();
	ASSERT_WORKERS_EXIT(both, end);
}

TEST_F(two_threads, stranger_closes_ring)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, self->peer->run([&] {
		ring.close();
		return 0;
	}));
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
