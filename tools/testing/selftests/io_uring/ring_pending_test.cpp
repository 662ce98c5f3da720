// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring that is closed comes to its end, and its idle workers leave, whatever requests are
 * pending: those that are armed and wait without a worker.  Programs may close a ring
 * without cancelling anything first.  io_ring_exit_work() does that for them: it calls
 * io_uring_try_cancel_requests() until ctx->refs are gone.
 */
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "promise.hpp"

namespace {

struct io_uring_sqe *next_sqe(Uring &ring)
{
	return io_uring_get_sqe(ring.get());
}

struct __kernel_timespec hour = { .tv_sec = 3600, .tv_nsec = 0 };

} // namespace

FIXTURE(pending) {};
FIXTURE_SETUP(pending) {}
FIXTURE_TEARDOWN(pending) {}

FIXTURE_VARIANT(pending)
{
	/* Queues what will not complete by itself.  How many requests, or 0 without a socket. */
	unsigned (*queue)(Uring &ring, const PipeEnds &pipe);
};

FIXTURE_VARIANT_ADD(pending, poll)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		io_uring_prep_poll_add(next_sqe(ring), pipe.rd.get(), POLLIN);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, multishot_poll)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		io_uring_prep_poll_multishot(next_sqe(ring), pipe.rd.get(), POLLIN);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, read)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		static char byte;

		io_uring_prep_read(next_sqe(ring), pipe.rd.get(), &byte, 1, 0);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, multishot_accept)
{
	.queue = [](Uring &ring, const PipeEnds &) {
		const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		/* An abstract name of the kernel's choice. */
		const struct sockaddr any = { .sa_family = AF_UNIX, .sa_data = {} };

		if (listener < 0 || bind(listener, &any, sizeof(any.sa_family)) ||
		    listen(listener, 1))
			return 0U;
		io_uring_prep_multishot_accept(next_sqe(ring), listener, nullptr, nullptr, 0);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, timeout)
{
	.queue = [](Uring &ring, const PipeEnds &) {
		io_uring_prep_timeout(next_sqe(ring), &hour, 0, 0);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, timeout_for_completions)
{
	.queue = [](Uring &ring, const PipeEnds &) {
		io_uring_prep_timeout(next_sqe(ring), &hour, 4, 0);
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, link)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		struct io_uring_sqe *head = next_sqe(ring);

		io_uring_prep_poll_add(head, pipe.rd.get(), POLLIN);
		head->flags |= IOSQE_IO_LINK;
		for (int i = 0; i < 2; i++) {
			struct io_uring_sqe *next = next_sqe(ring);

			io_uring_prep_nop(next);
			next->flags |= IOSQE_ASYNC | (i == 0 ? IOSQE_IO_LINK : 0);
		}
		return 3U;
	}
};
FIXTURE_VARIANT_ADD(pending, linked_timeout)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		struct io_uring_sqe *head = next_sqe(ring);

		io_uring_prep_poll_add(head, pipe.rd.get(), POLLIN);
		head->flags |= IOSQE_IO_LINK;
		io_uring_prep_link_timeout(next_sqe(ring), &hour, 0);
		return 2U;
	}
};
FIXTURE_VARIANT_ADD(pending, drain)
{
	.queue = [](Uring &ring, const PipeEnds &pipe) {
		io_uring_prep_poll_add(next_sqe(ring), pipe.rd.get(), POLLIN);

		struct io_uring_sqe *last = next_sqe(ring);

		io_uring_prep_nop(last);
		last->flags |= IOSQE_IO_DRAIN | IOSQE_ASYNC;
		return 2U;
	}
};
FIXTURE_VARIANT_ADD(pending, futex)
{
	.queue = [](Uring &ring, const PipeEnds &) {
		constexpr unsigned futex_wait = 51, size_u32 = 2;
		static __u32 word;
		struct io_uring_sqe *sqe = next_sqe(ring);

		/* For a wake-up by any of the bits, as the word is 0. */
		io_uring_prep_rw(futex_wait, sqe, size_u32, &word, 0, 0);
		sqe->addr3 = ~0U;
		return 1U;
	}
};
FIXTURE_VARIANT_ADD(pending, poll_of_itself_by_epoll)
{
	.queue = [](Uring &ring, const PipeEnds &) {
		const int epoll = epoll_create1(EPOLL_CLOEXEC);
		struct epoll_event event = { .events = EPOLLIN, .data = {} };

		epoll_ctl(epoll, EPOLL_CTL_ADD, ring.fd(), &event);
		io_uring_prep_poll_add(next_sqe(ring), epoll, POLLIN);
		return 1U;
	}
};

TEST_F(pending, cancelled_by_the_end)
{
	PipeEnds pipe;
	Uring ring;

	ASSERT_EQ(0, pipe.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());

	const int nr = static_cast<int>(variant->queue(ring, pipe));
	struct io_uring_cqe *cqe;

	if (nr == 0)
		SKIP(return, "%s", skip::no_socket);
	ASSERT_EQ(nr, io_uring_submit(ring.get()));
	if (io_uring_peek_cqe(ring.get(), &cqe) == 0) {
		/* A kernel that does not know the request has refused it by now. */
		if (cqe->res == -EINVAL)
			SKIP(return, "%s", skip::no_request);
		ASSERT_TRUE(false)
		{
			TH_LOG("not pending, but: %s", strerror(-cqe->res));
		}
	}
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
