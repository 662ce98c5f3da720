// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A cancellation that asks for what there is not is refused, a request linked to it is done only
 * if it found something, and io_uring_register_sync_cancel(3) waits as long as it is told for
 * what it found.  For all who tidy up and go on by what they were told.
 */
#include <errno.h>
#include <thread>

#include "absent.hpp"
#include "harness.hpp"
#include "workers.hpp"

/* Newer than liburing 2.3. */
#ifndef IORING_ASYNC_CANCEL_USERDATA
#define IORING_ASYNC_CANCEL_USERDATA (1U << 4)
#define IORING_ASYNC_CANCEL_OP (1U << 5)
#endif

namespace {

constexpr __u64 cancellation = 100;
constexpr int no_file = 1'000'000;
constexpr unsigned register_sync_cancel = 24;

/* As the newest <linux/io_uring.h> has it. */
struct SyncCancel {
	__u64 addr;
	__s32 fd;
	__u32 flags;
	struct {
		__s64 sec, nsec;
	} timeout;
	__u8 opcode;
	__u8 pad[7];
	__u64 pad2[3];
};

int sync_cancel(Uring &ring, void *what)
{
	return io_uring_register(static_cast<unsigned>(ring.fd()), register_sync_cancel,
				 what, 1);
}

SyncCancel naming(unsigned flags, int fd = -1)
{
	SyncCancel what = {};

	what.flags = flags;
	what.fd = fd;
	what.timeout = { .sec = -1, .nsec = -1 };
	return what;
}

struct io_uring_sqe *prepare(Uring &ring, unsigned flags, int fd = -1)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, fd, nullptr, 0, 0);
	sqe->cancel_flags = flags;
	sqe->user_data = cancellation;
	return sqe;
}

/* The results of two requests, in the order of their ends; -ETIME for what does not end. */
std::pair<int, int> two_results(Uring &ring)
{
	const Deadline deadline(limit::event);
	int results[2] = { -ETIME, -ETIME };
	struct io_uring_cqe *cqe;

	for (int &result : results) {
		while (io_uring_peek_cqe(ring.get(), &cqe) && !deadline.over())
			deadline.back_off();
		if (deadline.over())
			break;
		result = cqe->res;
		io_uring_cqe_seen(ring.get(), cqe);
	}
	return { results[0], results[1] };
}

} // namespace

TEST(request_is_refused)
{
	constexpr unsigned all = IORING_ASYNC_CANCEL_ALL;
	Uring ring;

	const struct {
		unsigned flags;
		int fd;
		unsigned op, more_op;
		int error;
	} wrong[] = {
		{ 1U << 31, -1, 0, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ANY, 0, 0, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ANY, -1, IORING_OP_NOP, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | all, -1, 255, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | all, -1, 256, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_FD | all, no_file, 0, 0, -EBADF },
		{ IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED | all, 0, 0, 0, -EBADF },
		{ 0, -1, 0, 0, -ENOENT },
		{ all, -1, 0, 0, 0 },
	};

	ASSERT_EQ(0, ring.open());
	for (const auto &row : wrong) {
		prepare(ring, row.flags, row.fd)->len = row.op;
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		ASSERT_EQ(0, ring.reap(1, row.error)) TH_LOG("flags %#x, opcode %u", row.flags, row.op);
	}
	prepare(ring, all)->off = 1;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1, -EINVAL));
	prepare(ring, all)->splice_fd_in = 1;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1, -EINVAL));
}

TEST(link_follows_what_was_found)
{
	Work work(Class::unbounded);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	prepare(ring, 0)->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	ASSERT_TRUE(two_results(ring) == (std::pair{ -ENOENT, -ECANCELED }));

	prepare(ring, IORING_ASYNC_CANCEL_ALL)->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	ASSERT_TRUE(two_results(ring) == (std::pair{ 0, 0 }));

	/* By its descriptor, which it takes as its own file. */
	prepare(ring, IORING_ASYNC_CANCEL_FD, no_file)->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	ASSERT_TRUE(two_results(ring) == (std::pair{ -EBADF, -ECANCELED }));
}

TEST(registration_is_refused)
{
	constexpr unsigned all = IORING_ASYNC_CANCEL_ALL;
	SyncCancel what = naming(all);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	if (sync_cancel(ring, &what) == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_EQ(0, sync_cancel(ring, &what)) TH_LOG("there is nothing to cancel");
	ASSERT_EQ(-EFAULT, sync_cancel(ring, mmap(static_cast<void *>(nullptr), 4096, PROT_NONE,
						  MAP_PRIVATE | MAP_ANONYMOUS, -1,
						  static_cast<off_t>(0))));
	what = naming(0);
	ASSERT_EQ(-ENOENT, sync_cancel(ring, &what));
	what = naming(1U << 31);
	ASSERT_EQ(-EINVAL, sync_cancel(ring, &what));
	for (__u64 &pad : what.pad2) {
		what = naming(all);
		pad = 1;
		ASSERT_EQ(-EINVAL, sync_cancel(ring, &what)) TH_LOG("pad2[%td]", &pad - what.pad2);
	}
	/* The first pads of newer kernels lay where older ones had others. */
	for (__u8 &pad : what.pad) {
		what = naming(all);
		pad = 1;
		ASSERT_EQ(-EINVAL, sync_cancel(ring, &what)) TH_LOG("pad[%td]", &pad - what.pad);
	}
	for (const unsigned flags : { 0U, static_cast<unsigned>(IORING_ASYNC_CANCEL_FD_FIXED) }) {
		what = naming(IORING_ASYNC_CANCEL_FD | flags | all, no_file);
		ASSERT_EQ(-EBADF, sync_cancel(ring, &what)) TH_LOG("flags %#x", flags);
	}
}

/* A write whose byte is not there yet cannot be cut short: it ends by itself, later. */
TEST(registration_waits)
{
	constexpr milliseconds a_while{ 50 };
	const Fd file = memory_file();
	AbsentPage page;
	SyncCancel what = naming(0);
	Uring ring;

	ASSERT_EQ(0, file.error());
	ASSERT_EQ(0, ring.open());
	if (sync_cancel(ring, &what) == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	io_uring_prep_write(io_uring_get_sqe(ring.get()), file.get(), page.get(), 1, 0);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_TRUE(page.await_reader());

	const Deadline since(limit::event);

	what.timeout = { .sec = 0, .nsec = std::chrono::nanoseconds(a_while).count() };
	ASSERT_EQ(-ETIME, sync_cancel(ring, &what));
	ASSERT_LE(a_while.count(), std::chrono::ceil<milliseconds>(since.spent()).count());

	std::thread later([&] {
		usleep(std::chrono::microseconds(a_while).count());
		page.release();
	});

	what = naming(0);
	ASSERT_EQ(0, sync_cancel(ring, &what));
	later.join();
	ASSERT_EQ(1U, io_uring_cq_ready(ring.get()))
		TH_LOG("told of its end before it has ended");
}

TEST_HARNESS_MAIN
