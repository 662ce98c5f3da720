// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request that a worker is about to park, to wait for an event without a thread, is found
 * by a cancellation as if it was parked already: to io_uring_prep_cancel(3) the result is 0,
 * or -EALREADY for one that has started, and -ENOENT only if there is none.  Found or not,
 * it ends.  For all who wind up waits for a futex, a child or a time.  The cancellation may
 * come as the request is neither running nor on a list: it marks what runs, and who parks it
 * has to look for that, io_wq_cancel_seen().
 */
#include <errno.h>
#include <linux/futex.h>
#include <random>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include "child.hpp"
#include "harness.hpp"
#include "workers.hpp"

namespace {

namespace opcode {
constexpr int waitid = 50, futex_wait = 51;
}

constexpr __u64 request = 100, cancellation = 101;

void prepare_futex(struct io_uring_sqe *sqe)
{
	constexpr int private_of_32_bits = 0x02 | FUTEX_PRIVATE_FLAG;
	static uint32_t word;

	/* Not io_uring_prep_futex_wait(), which came with liburing 2.5. */
	io_uring_prep_rw(opcode::futex_wait, sqe, private_of_32_bits, &word, 0, 0);
	memcpy(reinterpret_cast<char *>(sqe) + 48, "\377\377\377\377", 4); /* addr3: all bits */
}

void prepare_waitid(struct io_uring_sqe *sqe)
{
	/* Not io_uring_prep_waitid(), for the same reason. */
	io_uring_prep_rw(opcode::waitid, sqe, 0, nullptr, P_ALL, 0);
	sqe->file_index = WEXITED;
}

void prepare_timeout(struct io_uring_sqe *sqe)
{
	static struct __kernel_timespec hour = { .tv_sec = 3600, .tv_nsec = 0 };

	io_uring_prep_timeout(sqe, &hour, 0, 0);
}

/* What came of both, once they are there; -ETIME for what is not. */
struct Outcome {
	int request = -ETIME, cancellation = -ETIME;
};

Outcome await_outcome(Uring &ring)
{
	const Deadline deadline(limit::prompt);
	Outcome end;
	struct io_uring_cqe *cqe;
	unsigned head;

	/* Only task work completes what was parked. */
	while (io_uring_cq_ready(ring.get()) < 2 && !deadline.over())
		io_uring_get_events(ring.get());
	io_uring_for_each_cqe(ring.get(), head, cqe) {
		if (cqe->user_data == request)
			end.request = cqe->res;
		else
			end.cancellation = cqe->res;
	}
	io_uring_cq_advance(ring.get(), io_uring_cq_ready(ring.get()));
	return end;
}

} // namespace

FIXTURE(about_to_park) {};
FIXTURE_SETUP(about_to_park) {}
FIXTURE_TEARDOWN(about_to_park) {}

FIXTURE_VARIANT(about_to_park)
{
	void (*prepare)(struct io_uring_sqe *);
};

FIXTURE_VARIANT_ADD(about_to_park, futex) { .prepare = prepare_futex };
FIXTURE_VARIANT_ADD(about_to_park, waitid) { .prepare = prepare_waitid };
FIXTURE_VARIANT_ADD(about_to_park, timeout) { .prepare = prepare_timeout };

/* The worker has a start that is random, and no longer than it takes for a request. */
TEST_F(about_to_park, is_found)
{
	const Deadline tries(limit::grace);
	std::minstd_rand random;
	Deadline::clock::duration longest;
	int started = 0, round = 0;
	Process child;
	Uring ring;

	/* For waitid(2) to wait for. */
	ASSERT_EQ(0, child.start([](Process &self) { return self.step(), 0; }));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::unbounded));

	const Deadline since(limit::event);

	ASSERT_EQ(0, serve(ring, Class::unbounded));
	longest = 4 * since.spent();
	for (; !tries.over(); round++) {
		const auto start = longest * (random() % 256) / 256;
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		variant->prepare(sqe);
		sqe->flags |= IOSQE_ASYNC;
		sqe->user_data = request;
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		for (const auto now = Deadline::clock::now(); Deadline::clock::now() - now < start;)
			;
		sqe = io_uring_get_sqe(ring.get());
		io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, nullptr, 0, 0);
		sqe->addr = request;
		sqe->user_data = cancellation;
		ASSERT_EQ(1, io_uring_submit(ring.get()));

		const Outcome end = await_outcome(ring);

		if (end.request == -EINVAL)
			SKIP(return, "%s", skip::no_request);
		ASSERT_TRUE(end.cancellation >= 0 || end.cancellation == -EALREADY)
		{
			TH_LOG("to cancel a request that a worker parks: %s",
			       strerror(-end.cancellation));
			TH_LOG("in round %d; see io_wq_cancel_seen() and io_try_cancel()", round);
		}
		ASSERT_EQ(-ECANCELED, end.request)
		{
			TH_LOG("a request goes on in spite of its cancellation, which told %d",
			       end.cancellation);
			TH_LOG("in round %d", round);
			TH_LOG("see io_wq_cancel_seen() and io_try_cancel()");
		}
		started += end.cancellation == -EALREADY;
	}
	TH_LOG("%d rounds, in %d of which the worker was at it", round, started);
}

TEST_HARNESS_MAIN
