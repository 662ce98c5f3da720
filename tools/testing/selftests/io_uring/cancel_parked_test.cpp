// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A worker that gets a wait for a futex, for a child or for a time parks the request: it puts it
 * on a list of the ring, where it waits for its event without a thread.  A cancellation finds the
 * request before, while and after it is parked.  By io_uring_prep_cancel(3) the result is 0, or
 * -EALREADY if the request has started, and -ENOENT only if there is no such request.  Programs
 * that stop waiting rely on that.  While a worker parks a request, it neither runs it as io-wq
 * sees it, nor is it on a list.  So a cancellation marks what a worker runs, and whoever parks a
 * request has to look for that mark, by io_wq_cancel_seen().
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
	constexpr __u64 all_bits = ~0U;
	static uint32_t word;

	/* Not io_uring_prep_futex_wait(), which came with liburing 2.5. */
	io_uring_prep_rw(opcode::futex_wait, sqe, private_of_32_bits, &word, 0, 0);
	memcpy(reinterpret_cast<char *>(sqe) + 48, &all_bits, sizeof(all_bits)); /* addr3 */
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

int submit_request(Uring &ring, void (*prepare)(struct io_uring_sqe *))
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	prepare(sqe);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = request;
	return io_uring_submit(ring.get());
}

int submit_cancellation(Uring &ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel64(sqe, request, 0);
	sqe->user_data = cancellation;
	return io_uring_submit(ring.get());
}

/* Lets @time pass without giving up the CPU, as a sleep would take longer. */
void spin(Deadline::clock::duration time)
{
	const auto start = Deadline::clock::now();

	while (Deadline::clock::now() - start < time) {
	}
}

/* Awaits both completions.  Those of parked requests come by task work. */
void await_both(Uring &ring)
{
	const Deadline deadline(limit::prompt);

	while (io_uring_cq_ready(ring.get()) < 2 && !deadline.over())
		io_uring_get_events(ring.get());
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

/*
 * For a second, requests are cancelled a random time after their submission.  That time is up to
 * four times what a worker takes for a request, so that it may meet any of the worker's steps.
 */
TEST_F(about_to_park, is_found)
{
	const Deadline a_second(limit::grace);
	std::minstd_rand random;
	Deadline::clock::duration longest;
	int started = 0, round = 0;
	Process child;
	Uring ring;

	/* The waitid(2) of a request needs a child that does not end. */
	ASSERT_EQ(0, child.start([](Process &self) {
		self.step();
		return 0;
	}));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::unbounded));

	const Deadline since(limit::event);

	ASSERT_EQ(0, serve(ring, Class::unbounded));
	longest = 4 * since.spent();
	for (; !a_second.over(); round++) {
		ASSERT_EQ(1, submit_request(ring, variant->prepare));
		spin(longest * (random() % 256) / 256);
		ASSERT_EQ(1, submit_cancellation(ring));
		await_both(ring);

		const int ended = ring.result_of(request), found = ring.result_of(cancellation);

		if (ended == -EINVAL)
			SKIP(return, "%s", skip::no_request);
		ASSERT_TRUE(found >= 0 || found == -EALREADY)
		{
			TH_LOG("round %d: the cancellation of a request that a worker parks: %s",
			       round, strerror(-found));
			TH_LOG("see io_wq_cancel_seen() and io_try_cancel()");
		}
		ASSERT_EQ(-ECANCELED, ended)
		{
			TH_LOG("round %d: a request goes on after its cancellation, with result %d",
			       round, found);
			TH_LOG("see io_wq_cancel_seen() and io_try_cancel()");
		}
		started += found == -EALREADY;
		io_uring_cq_advance(ring.get(), 2);
	}
	TH_LOG("%d rounds, in %d of which a worker had started the request", round, started);
}

TEST_HARNESS_MAIN
