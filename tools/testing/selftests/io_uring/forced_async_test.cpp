// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request with IOSQE_ASYNC goes to a worker at once, and ends as it would without that flag: it
 * fails without a file; with RWF_NOWAIT it does not wait; while it waits for data it is polled for,
 * and holds no worker; and a multishot request goes on after each completion.  Programs that use
 * the flag to keep their submissions short rely on that.  A worker issues such a request by
 * io_wq_submit_work().
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "harness.hpp"
#include "work.hpp"

namespace {

constexpr __u8 read_multishot = 49;
constexpr int no_file = 1'000'000;

/* Prepares a request for a worker, to be completed and submitted by the caller. */
struct io_uring_sqe *prepare(Uring &ring, __u8 op, int fd, void *to = nullptr, unsigned len = 0)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_rw(op, sqe, fd, to, len, 0);
	sqe->flags |= IOSQE_ASYNC;
	return sqe;
}

} // namespace

TEST(no_such_file)
{
	char byte;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (const unsigned flags : { 0, static_cast<int>(IOSQE_FIXED_FILE) }) {
		prepare(ring, IORING_OP_READ, no_file, &byte, 1)->flags |= flags | IOSQE_IO_LINK;
		io_uring_prep_nop(io_uring_get_sqe(ring.get()));
		ASSERT_EQ(2, io_uring_submit(ring.get()));
		ASSERT_EQ(-EBADF, ring.take().result);
		ASSERT_EQ(-ECANCELED, ring.take().result);
	}
}

/* By io_uring_enter(2), what is linked by IOSQE_IO_HARDLINK is done even after a failure. */
TEST(link_behind_failure)
{
	const struct {
		unsigned flag;
		int next;
	} links[] = { { IOSQE_IO_LINK, -ECANCELED }, { IOSQE_IO_HARDLINK, 0 } };
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (const auto &link : links) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		/* Fails as it is done, unlike a request that has no file. */
		io_uring_prep_openat(sqe, AT_FDCWD, "/proc/self/nothing", O_RDONLY, 0);
		sqe->flags |= IOSQE_ASYNC | link.flag;
		prepare(ring, IORING_OP_NOP, -1);
		ASSERT_EQ(2, io_uring_submit(ring.get()));
		ASSERT_EQ(-ENOENT, ring.take().result);
		ASSERT_EQ(link.next, ring.take().result) TH_LOG("see io_wq_put_work()");
	}
}

/* With IOSQE_CQE_SKIP_SUCCESS it completes without a word, unless it fails. */
TEST(silent_success)
{
	Uring ring;
	char byte;

	ASSERT_EQ(0, ring.open());
	prepare(ring, IORING_OP_NOP, -1)->flags |= IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK;
	prepare(ring, IORING_OP_READ, no_file, &byte, 1)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	ASSERT_EQ(-EBADF, ring.take().result) TH_LOG("see io_req_complete_post()");
}

TEST(who_must_not_wait)
{
	PipeEnds pipe;
	Uring ring;
	char byte;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, pipe.open());
	prepare(ring, IORING_OP_READ, pipe.rd.get(), &byte, 1)->rw_flags = RWF_NOWAIT;
	ASSERT_EQ(1, io_uring_submit(ring.get()));

	const int result = ring.take().result;

	/* Before v6.2 a read of a pipe did not support RWF_NOWAIT of preadv2(2). */
	ASSERT_TRUE(result == -EAGAIN || result == -EOPNOTSUPP) TH_LOG("%d", result);
}

/* Three reads wait for data.  Then the only worker must be free for another request. */
TEST(who_may_have_to_wait)
{
	PipeEnds pipes[3];
	Uring ring;
	char byte;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, ring.limit_workers(1, 1));
	for (PipeEnds &pipe : pipes) {
		ASSERT_EQ(0, pipe.open());
		prepare(ring, IORING_OP_READ, pipe.rd.get(), &byte, 1);
		ASSERT_EQ(1, io_uring_submit(ring.get()));
	}
	ASSERT_EQ(0, serve(ring, Class::unbounded))
	{
		TH_LOG("a read that waits for data keeps the worker from other requests");
	}
	for (const PipeEnds &pipe : pipes) {
		ASSERT_EQ(1, write(pipe.wr.get(), "", 1));
		ASSERT_EQ(0, ring.reap(1, 1));
	}
}

FIXTURE(multishot) {};
FIXTURE_SETUP(multishot) {}
FIXTURE_TEARDOWN(multishot) {}

FIXTURE_VARIANT(multishot)
{
	int type;
};

FIXTURE_VARIANT_ADD(multishot, of_socket) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(multishot, of_nonblocking_socket) { .type = SOCK_STREAM | SOCK_NONBLOCK };

TEST_F(multishot, ends_as_often_as_asked)
{
	const Fd listener(socket(AF_UNIX, variant->type, 0));
	struct sockaddr_un address = {};
	socklen_t length = sizeof(address);
	Uring ring;

	address.sun_family = AF_UNIX;
	auto *generic = reinterpret_cast<struct sockaddr *>(&address);

	/* The kernel chooses a name that is in no file system. */
	if (!listener || bind(listener.get(), generic, sizeof(sa_family_t)) ||
	    listen(listener.get(), 8) || getsockname(listener.get(), generic, &length))
		SKIP(return, "%s", skip::no_socket);
	ASSERT_EQ(0, ring.open());
	prepare(ring, IORING_OP_ACCEPT, listener.get())->ioprio = IORING_ACCEPT_MULTISHOT;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	for (int i = 0; i < 3; i++) {
		const Fd client(socket(AF_UNIX, SOCK_STREAM, 0));

		if (connect(client.get(), generic, length))
			SKIP(return, "%s", skip::no_socket);

		const auto [result, flags] = ring.take();

		ASSERT_LE(0, result) TH_LOG("connection %d", i);
		ASSERT_TRUE(flags & IORING_CQE_F_MORE) TH_LOG("connection %d", i);
		close(result);
	}
}

/* A file that cannot be polled has no multishot reads. */
TEST(multishot_of_file)
{
	const Fd file = memory_file();
	Uring ring;

	ASSERT_EQ(0, file.error());
	ASSERT_EQ(0, ring.open());
	prepare(ring, read_multishot, file.get())->flags |= IOSQE_BUFFER_SELECT;
	ASSERT_EQ(1, io_uring_submit(ring.get()));

	const int result = ring.take().result;

	if (result == -EINVAL)
		SKIP(return, "%s", skip::no_request);
	ASSERT_EQ(-EBADFD, result);
}

TEST_HARNESS_MAIN
