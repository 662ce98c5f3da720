// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A cancellation of many requests reaches all of them that wait in io-wq, and says how many there
 * were; and so does one that comes from outside of the SQPOLL thread which submitted them.  By
 * io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_ALL and _ANY return "how many requests were found
 * and canceled", and _FD matches "based on the file descriptor used in the original request".  By
 * io_uring_register_sync_cancel(3) that call does the same, for any ring.  Programs that close
 * connections rely on that.  The kernel fails in three places: io_async_cancel_one() counts pools
 * instead of requests; a queued splice has no file yet that io_cancel_req_match() could compare;
 * and io_sync_cancel() looks at the pool of its caller, while an SQPOLL thread has its own.
 */
#include <errno.h>
#include <string.h>

#include "harness.hpp"
#include "peer.hpp"
#include "workers.hpp"

namespace {

constexpr __u64 cancellation = 100; /* that class Work does not use */
constexpr unsigned nr = 4;

/* Submits a cancellation of requests by their user_data @name, or as @flags have it. */
int submit_cancellation(Uring &ring, __u64 name, unsigned flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel64(sqe, name, static_cast<int>(flags));
	sqe->user_data = cancellation;
	return io_uring_submit(ring.get());
}

/* The same, of all requests to the file @fd. */
int submit_cancellation_by_descriptor(Uring &ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = cancellation;
	return io_uring_submit(ring.get());
}

/* Awaits the completions of all @nr requests and of the cancellation.  How many requests ended. */
unsigned await_ended(Uring &ring)
{
	const unsigned ready = ring.await_ready(nr + 1, limit::prompt);

	return ready - (ring.result_of(cancellation) != -EINPROGRESS);
}

} // namespace

/* Asserts that all @nr requests end, and that the cancellation says so.  @missed is why not. */
#define ASSERT_ALL_ENDED_AND_COUNTED(ring, missed)				\
do {										\
	ASSERT_EQ(nr, await_ended(ring)) TH_LOG("%s", missed);			\
	ASSERT_EQ(static_cast<int>(nr), (ring).result_of(cancellation))		\
		TH_LOG("the wrong number is told: see io_async_cancel_one()");	\
} while (0)

constexpr char missed_some[] = "the cancellation of all requests missed some: see "
			       "io_async_cancel_one() in io_uring/cancel.c";
constexpr char missed_splices[] = "a cancellation by descriptor missed splices that wait for a "
				  "worker: see io_cancel_req_match() in io_uring/cancel.c";

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
	Work work(Class::bounded, nr);
	PeerThread peer;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const auto submit = [&] {
		const int err = ring.limit_workers(variant->running, variant->running);

		return err ? err : work.submit(ring);
	};

	ASSERT_EQ(0, variant->by_another ? peer.run(submit) : submit());

	const WorkerSet workers = WorkerSet::await(variant->running);

	ASSERT_EQ(variant->running, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	/* All requests of @work have the same user_data. */
	ASSERT_EQ(1, submit_cancellation(ring, work.user_data(), variant->flags));
	ASSERT_ALL_ENDED_AND_COUNTED(ring, missed_some);
}

/* Waits for a futex are on a list of the ring, which the kernel goes through for all at once. */
TEST(futexes_by_user_data)
{
	constexpr unsigned futex_wait = 51, size_u32 = 2;
	__u32 word = 0;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (unsigned i = 0; i < nr; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		io_uring_prep_rw(futex_wait, sqe, size_u32, &word, 0, 0);
		sqe->addr3 = ~0U;
		sqe->user_data = 0;
	}

	const int submitted = io_uring_submit(ring.get());

	/* Refused ones complete at once, and the first of them ends the submission. */
	if (io_uring_cq_ready(ring.get()))
		SKIP(return, "%s", skip::no_request);
	ASSERT_EQ(static_cast<int>(nr), submitted);
	ASSERT_EQ(1, submit_cancellation(ring, 0, IORING_ASYNC_CANCEL_ALL));
	ASSERT_ALL_ENDED_AND_COUNTED(ring, missed_some);
}

/*
 * The only worker is blocked in a splice between other files, which is left alone.  The splices
 * behind it wait for a worker.
 */
TEST(queued_splices_by_descriptor)
{
	Work first(Class::unbounded);
	PipeEnds in, out;
	Uring ring;

	ASSERT_EQ(0, in.open());
	ASSERT_EQ(0, out.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, first.occupy(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	for (unsigned i = 0; i < nr; i++)
		io_uring_prep_splice(io_uring_get_sqe(ring.get()), in.rd.get(), -1, out.wr.get(),
				     -1, 1, 0);
	ASSERT_EQ(static_cast<int>(nr), io_uring_submit(ring.get()));
	ASSERT_EQ(1, submit_cancellation_by_descriptor(ring, out.wr.get()));
	ASSERT_ALL_ENDED_AND_COUNTED(ring, missed_splices);
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

/* The worker is blocked in a request. */
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
		TH_LOG("the cancellation of what a worker is blocked in: %s", strerror(-found));
		TH_LOG("see io_sync_cancel() in io_uring/cancel.c");
	}
	ASSERT_EQ(0, ring.discard(1))
	{
		TH_LOG("a request goes on after its cancellation");
		TH_LOG("see io_sync_cancel() in io_uring/cancel.c");
	}
}

TEST_HARNESS_MAIN
