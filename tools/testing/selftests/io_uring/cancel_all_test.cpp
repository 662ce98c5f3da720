// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who cancels many requests, or cancels from outside of the thread that submits them, reaches
 * all that wait in io-wq, and is told how many.  By io_uring_prep_cancel(3),
 * IORING_ASYNC_CANCEL_ALL and _ANY return "how many requests were found and canceled", and _FD
 * matches "based on the file descriptor used in the original request".  By
 * io_uring_register_sync_cancel(3) the same goes for that call, with any ring.  Programs that wind
 * up connections rely on that.  io_async_cancel_one() counts pools instead of requests, a queued
 * splice has no file yet for io_cancel_req_match(), and io_sync_cancel() looks at the pool of its
 * caller, where an SQPOLL thread has another one.
 */
#include <errno.h>
#include <string.h>

#include "harness.hpp"
#include "peer.hpp"
#include "workers.hpp"

namespace {

constexpr __u64 cancellation = 100; /* that class Work does not use */
constexpr unsigned nr = 4;

/* Cancels all requests of the file @fd. */
int cancel_by_descriptor(Uring &ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = cancellation;
	return io_uring_submit(ring.get()) == 1 ? 0 : -EIO;
}

/* What came of all: how many requests ended, and what the cancellation told. */
struct Outcome {
	unsigned ended = 0;
	int told = -ETIME;
};

Outcome await_outcome(Uring &ring, unsigned want)
{
	Outcome seen;
	struct io_uring_cqe *cqe;
	unsigned head;

	ring.await_ready(want + 1, limit::prompt);
	io_uring_for_each_cqe(ring.get(), head, cqe) {
		if (cqe->user_data == cancellation)
			seen.told = cqe->res;
		else
			seen.ended++;
	}
	return seen;
}

} // namespace

#define ASSERT_ALL_ENDED_AND_TOLD(ring, want)					\
do {										\
	const Outcome seen = await_outcome(ring, want);				\
										\
	ASSERT_EQ(want, seen.ended)						\
	{									\
		TH_LOG("of %u requests, the cancellation of all missed some", want); \
		TH_LOG("see io_async_cancel_one() in io_uring/cancel.c");	\
	}									\
	ASSERT_EQ(static_cast<int>(want), seen.told)				\
	{									\
		TH_LOG("all %u requests were cancelled, and it tells %d", want,	\
		       seen.told);						\
		TH_LOG("see io_async_cancel_one() in io_uring/cancel.c");	\
	}									\
} while (0)

FIXTURE(cancelled) {};
FIXTURE_SETUP(cancelled) {}
FIXTURE_TEARDOWN(cancelled) {}

FIXTURE_VARIANT(cancelled)
{
	unsigned flags;
	/* How many of the requests have a worker; the others wait for one. */
	unsigned running;
	/* Another thread submits them. */
	bool by_another = false;
};

FIXTURE_VARIANT_ADD(cancelled, any_running)
{
	.flags = IORING_ASYNC_CANCEL_ANY, .running = nr
};
FIXTURE_VARIANT_ADD(cancelled, any_running_and_queued)
{
	.flags = IORING_ASYNC_CANCEL_ANY, .running = 1
};
FIXTURE_VARIANT_ADD(cancelled, all_running_and_queued)
{
	.flags = IORING_ASYNC_CANCEL_ALL, .running = 1
};
FIXTURE_VARIANT_ADD(cancelled, any_of_another_thread)
{
	.flags = IORING_ASYNC_CANCEL_ANY, .running = 1, .by_another = true
};
FIXTURE_VARIANT_ADD(cancelled, all_of_another_thread)
{
	.flags = IORING_ASYNC_CANCEL_ALL, .running = nr, .by_another = true
};

TEST_F(cancelled, all_end_and_are_counted)
{
	unsigned limits[2] = { variant->running, variant->running };
	Work work(Class::bounded, nr);
	PeerThread peer;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const auto submit = [&] {
		const int err = io_uring_register_iowq_max_workers(ring.get(), limits);

		return err ? err : work.submit(ring);
	};

	ASSERT_EQ(0, variant->by_another ? peer.run(submit) : submit());

	const WorkerSet workers = WorkerSet::await(variant->running);

	ASSERT_EQ(variant->running, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	/* By user_data, which they have in common, or whatever they have. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel64(sqe, work.user_data(), static_cast<int>(variant->flags));
	sqe->user_data = cancellation;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_ALL_ENDED_AND_TOLD(ring, nr);
}

/* These wait in the ring, which takes all that match at once. */
TEST(futexes_by_user_data)
{
	constexpr unsigned futex_wait = 51, size_u32 = 2;
	__u32 word = 0;
	struct io_uring_sqe *sqe;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (unsigned i = 0; i < nr; i++) {
		sqe = io_uring_get_sqe(ring.get());
		io_uring_prep_rw(futex_wait, sqe, size_u32, &word, 0, 0);
		sqe->addr3 = ~0U;
		sqe->user_data = 0;
	}
	ASSERT_EQ(static_cast<int>(nr), io_uring_submit(ring.get()));
	if (io_uring_cq_ready(ring.get()) == nr)
		SKIP(return, "%s", skip::no_request);
	sqe = io_uring_get_sqe(ring.get());
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = cancellation;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_ALL_ENDED_AND_TOLD(ring, nr);
}

/* One has the only worker, and is left alone; those behind it have another file. */
TEST(queued_splices_by_descriptor)
{
	unsigned one_worker[2] = { 1, 1 };
	Work first(Class::unbounded);
	PipeEnds in, out;
	Uring ring;

	ASSERT_EQ(0, in.open());
	ASSERT_EQ(0, out.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), one_worker));
	ASSERT_EQ(0, first.submit(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	for (unsigned i = 0; i < nr; i++)
		io_uring_prep_splice(io_uring_get_sqe(ring.get()), in.rd.get(), -1, out.wr.get(),
				     -1, 1, 0);
	ASSERT_EQ(static_cast<int>(nr), io_uring_submit(ring.get()));
	ASSERT_EQ(0, cancel_by_descriptor(ring, out.wr.get()));

	const Outcome seen = await_outcome(ring, nr);

	ASSERT_EQ(nr, seen.ended)
	{
		TH_LOG("a cancellation by descriptor missed splices that wait for a worker");
		TH_LOG("see io_cancel_req_match() in io_uring/cancel.c");
	}
	ASSERT_EQ(static_cast<int>(nr), seen.told)
		TH_LOG("see io_async_cancel_one() in io_uring/cancel.c");
	ASSERT_EQ(0, first.release());
}

FIXTURE(sync_cancel) {};
FIXTURE_SETUP(sync_cancel) {}
FIXTURE_TEARDOWN(sync_cancel) {}

FIXTURE_VARIANT(sync_cancel)
{
	unsigned setup_flags, flags;
};

FIXTURE_VARIANT_ADD(sync_cancel, plain)
{
	.setup_flags = 0, .flags = IORING_ASYNC_CANCEL_ANY
};
FIXTURE_VARIANT_ADD(sync_cancel, plain_by_user_data)
{
	.setup_flags = 0, .flags = 0
};
FIXTURE_VARIANT_ADD(sync_cancel, sqpoll)
{
	.setup_flags = IORING_SETUP_SQPOLL, .flags = IORING_ASYNC_CANCEL_ANY
};
FIXTURE_VARIANT_ADD(sync_cancel, sqpoll_by_user_data)
{
	.setup_flags = IORING_SETUP_SQPOLL, .flags = 0
};

/* What a worker is blocked in. */
TEST_F(sync_cancel, reaches_worker)
{
	struct io_uring_sync_cancel_reg reg = {};
	Work work(Class::bounded);
	Uring ring;

	ASSERT_EQ(0, ring.open(variant->setup_flags));
	ASSERT_EQ(0, work.submit(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	reg.addr = work.user_data();
	reg.flags = variant->flags;
	reg.timeout = { .tv_sec = 4, .tv_nsec = 0 };

	const int found = io_uring_register_sync_cancel(ring.get(), &reg);

	if (found == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	EXPECT_TRUE(found >= 0 || found == -EALREADY)
	{
		TH_LOG("to cancel what a worker is blocked in: %s", strerror(-found));
		TH_LOG("see io_sync_cancel() in io_uring/cancel.c");
	}
	ASSERT_EQ(0, ring.discard(1))
	{
		TH_LOG("a request goes on in spite of its cancellation");
		TH_LOG("see io_sync_cancel() in io_uring/cancel.c");
	}
}

TEST_HARNESS_MAIN
