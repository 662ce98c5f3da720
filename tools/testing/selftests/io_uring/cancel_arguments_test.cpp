// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A cancellation with wrong arguments, or of a request that does not exist, fails.  A request that
 * is linked behind a cancellation is done only if that succeeds.  For a request that it found,
 * io_uring_register_sync_cancel(3) waits until the request has ended, or until its own time-out.
 * Programs that cancel a request and then free its buffers rely on that.
 * io_async_cancel() and io_sync_cancel() check the arguments.
 */
#include <errno.h>
#include <thread>
#include <utility>

#include "absent.hpp"
#include "cancel.hpp"
#include "harness.hpp"
#include "workers.hpp"

namespace {

constexpr __u64 cancellation = 100;
constexpr int no_file = 1'000'000;

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
	return io_uring_register(static_cast<unsigned>(ring.fd()), IORING_REGISTER_SYNC_CANCEL, what, 1);
}

/* Arguments that are right if @flags and @fd are, without a time-out. */
SyncCancel arguments(unsigned flags, int fd = -1)
{
	SyncCancel what = {};

	what.flags = flags;
	what.fd = fd;
	what.timeout = { .sec = -1, .nsec = -1 };
	return what;
}

/* Prepares a cancellation, to be completed and submitted by the caller. */
struct io_uring_sqe *prepare(Uring &ring, unsigned flags, int fd = -1)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, fd, nullptr, 0, 0);
	sqe->cancel_flags = flags;
	sqe->user_data = cancellation;
	return sqe;
}

/* The results of a cancellation and of the NOP that is linked behind it. */
std::pair<int, int> results_with_linked_nop(Uring &ring, unsigned flags, int fd = -1)
{
	prepare(ring, flags, fd)->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	if (io_uring_submit(ring.get()) != 2)
		return { -EIO, -EIO };

	const int cancelled = ring.take().result;

	return { cancelled, ring.take().result };
}

} // namespace

TEST(request_is_refused)
{
	constexpr unsigned all = IORING_ASYNC_CANCEL_ALL;
	Uring ring;

	const struct {
		unsigned flags;
		int fd;
		unsigned op;
		int error;
	} wrong[] = {
		{ 1U << 31, -1, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ANY, 0, 0, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ANY, -1, IORING_OP_NOP, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | all, -1, 255, -EINVAL },
		{ IORING_ASYNC_CANCEL_OP | all, -1, 256, -EINVAL },
		{ IORING_ASYNC_CANCEL_FD | all, no_file, 0, -EBADF },
		{ IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED | all, 0, 0, -EBADF },
		{ 0, -1, 0, -ENOENT },
		{ all, -1, 0, 0 },
	};

	ASSERT_EQ(0, ring.open());
	for (const auto &row : wrong) {
		prepare(ring, row.flags, row.fd)->len = row.op;
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		ASSERT_EQ(0, ring.reap(1, row.error))
		{
			TH_LOG("flags %#x, opcode %u", row.flags, row.op);
		}
	}
	prepare(ring, all)->off = 1;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1, -EINVAL));
	prepare(ring, all)->splice_fd_in = 1;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1, -EINVAL));
}

/* Without IORING_ASYNC_CANCEL_ALL it takes one, also of those that wait for workers of two classes. */
TEST(one_of_two_classes)
{
	constexpr __u64 both = 101;
	Work bounded(Class::bounded), unbounded(Class::unbounded);
	PipeEnds in, out;
	unsigned cancelled = 0;
	Uring ring;

	ASSERT_EQ(0, in.open());
	ASSERT_EQ(0, out.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, bounded.occupy(ring));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet workers = WorkerSet::await(2);

	ASSERT_EQ(2U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	for (const bool is_bounded : { true, false }) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		if (is_bounded)
			io_uring_prep_nop(sqe);
		else
			io_uring_prep_splice(sqe, in.rd.get(), -1, out.wr.get(), -1, 1, 0);
		sqe->flags |= IOSQE_ASYNC;
		sqe->user_data = both;
	}
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	prepare(ring, 0)->addr = both;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(1, write(in.wr.get(), "", 1));
	for (int i = 0; i < 5; i++)
		cancelled += ring.take().result == -ECANCELED;
	ASSERT_EQ(1U, cancelled) TH_LOG("see io_wq_cancel_pending_work()");
}

TEST(link_follows_what_was_found)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_TRUE(results_with_linked_nop(ring, 0) == std::pair(-ENOENT, -ECANCELED));
	/* A cancellation of all requests succeeds, though it finds none. */
	ASSERT_TRUE(results_with_linked_nop(ring, IORING_ASYNC_CANCEL_ALL) == std::pair(0, 0));
	ASSERT_TRUE(results_with_linked_nop(ring, IORING_ASYNC_CANCEL_FD, no_file) ==
		    std::pair(-EBADF, -ECANCELED));
}

TEST(registration_is_refused)
{
	constexpr unsigned all = IORING_ASYNC_CANCEL_ALL;
	SyncCancel what = arguments(all);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	if (sync_cancel(ring, &what) == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_EQ(0, sync_cancel(ring, &what)) TH_LOG("there is nothing to cancel");
	ASSERT_EQ(-EFAULT, sync_cancel(ring, mmap(static_cast<void *>(nullptr), 4096, PROT_NONE,
						  MAP_PRIVATE | MAP_ANONYMOUS, -1,
						  static_cast<off_t>(0))));
	what = arguments(0);
	ASSERT_EQ(-ENOENT, sync_cancel(ring, &what));
	what = arguments(1U << 31);
	ASSERT_EQ(-EINVAL, sync_cancel(ring, &what));
	for (__u64 &pad : what.pad2) {
		what = arguments(all);
		pad = 1;
		ASSERT_EQ(-EINVAL, sync_cancel(ring, &what)) TH_LOG("pad2[%td]", &pad - what.pad2);
	}
	/* Older kernels have all padding in one array, of which these bytes are the first. */
	for (__u8 &pad : what.pad) {
		what = arguments(all);
		pad = 1;
		ASSERT_EQ(-EINVAL, sync_cancel(ring, &what)) TH_LOG("pad[%td]", &pad - what.pad);
	}
	for (const unsigned flags : { 0U, static_cast<unsigned>(IORING_ASYNC_CANCEL_FD_FIXED) }) {
		what = arguments(IORING_ASYNC_CANCEL_FD | flags | all, no_file);
		ASSERT_EQ(-EBADF, sync_cancel(ring, &what)) TH_LOG("flags %#x", flags);
	}
}

/*
 * A worker is in a write whose page is absent.  The cancellation finds the write, but cannot end
 * it: that takes the page.
 */
TEST(registration_waits)
{
	constexpr milliseconds a_while{ 50 };
	const Fd file = memory_file();
	AbsentPage page;
	SyncCancel what = arguments(0);
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

	what = arguments(0);
	ASSERT_EQ(0, sync_cancel(ring, &what));
	later.join();
	ASSERT_EQ(1U, io_uring_cq_ready(ring.get()))
	{
		TH_LOG("the cancellation did not wait for the end of the request");
	}
}

TEST_HARNESS_MAIN
