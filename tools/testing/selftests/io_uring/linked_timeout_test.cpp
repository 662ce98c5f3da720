// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A time-out that is linked to a request ends it, also where a worker is blocked in the request;
 * and it ends with the request if that is done before.  By io_uring_prep_link_timeout(3), "upon
 * timeout, all the uncompleted requests in the chain get canceled", and else it "was canceled
 * because all submitted requests were completed".  Programs bound by that how long they wait.  The
 * time starts as a request is issued; what always goes to a worker, as a splice, or has
 * IOSQE_ASYNC, is issued there: see __io_issue_sqe().
 */
#include <errno.h>

#include "harness.hpp"
#include "work.hpp"

namespace {

constexpr __u64 request = 1, timeout = 2;

/*
 * Opens @ring and the pipes, and submits a splice from @pipe, which is empty, so that it blocks in
 * a worker, and a time-out of @time that is linked to it.  0, or -errno.
 */
int start(Uring &ring, PipeEnds &pipe, PipeEnds &sink, unsigned flags,
	  struct __kernel_timespec time)
{
	if (const int err = ring.open() ?: pipe.open() ?: sink.open())
		return err;

	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_splice(sqe, pipe.rd.get(), -1, sink.wr.get(), -1, 1, 0);
	sqe->flags |= flags | IOSQE_IO_LINK;
	sqe->user_data = request;
	sqe = io_uring_get_sqe(ring.get());
	io_uring_prep_link_timeout(sqe, &time, 0);
	sqe->user_data = timeout;
	return io_uring_submit(ring.get()) == 2 ? 0 : -EIO;
}

} // namespace

FIXTURE(blocked) {};
FIXTURE_SETUP(blocked) {}
FIXTURE_TEARDOWN(blocked) {}

FIXTURE_VARIANT(blocked)
{
	/* IOSQE_ASYNC, or what is tried by the submitter first. */
	unsigned flags;
};

FIXTURE_VARIANT_ADD(blocked, forced) { .flags = IOSQE_ASYNC };
FIXTURE_VARIANT_ADD(blocked, punted) { .flags = 0 };

TEST_F(blocked, is_ended)
{
	PipeEnds pipe, sink;
	Uring ring;

	ASSERT_EQ(0, start(ring, pipe, sink, variant->flags, { .tv_sec = 0, .tv_nsec = 50'000'000 }));
	ASSERT_EQ(2U, ring.await_ready(2))
	{
		TH_LOG("the request goes on after its time: see __io_issue_sqe()");
	}
	/* How is for results_test. */
	ASSERT_GT(0, ring.result_of(request));

	const int told = ring.result_of(timeout);

	/* By the manual, -ENOENT if the request was not found: io_try_cancel() says so of workers'. */
	ASSERT_TRUE(told == -ETIME || told == -EALREADY || told == -ENOENT) TH_LOG("%d", told);
}

TEST_F(blocked, is_done_before)
{
	PipeEnds pipe, sink;
	Uring ring;

	ASSERT_EQ(0, start(ring, pipe, sink, variant->flags, { .tv_sec = 3'600, .tv_nsec = 0 }));
	ASSERT_EQ(1, write(pipe.wr.get(), "", 1));
	ASSERT_EQ(2U, ring.await_ready(2))
	{
		TH_LOG("the time-out goes on after its request: see io_disarm_next()");
	}
	ASSERT_EQ(1, ring.result_of(request));
	ASSERT_EQ(-ECANCELED, ring.result_of(timeout));
}

TEST_HARNESS_MAIN
