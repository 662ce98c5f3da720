// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request that waits for a worker is done to the file that its descriptor named at submission,
 * or it fails.  It is never done to a file that has got the same descriptor since.  By
 * io_uring_setup(2), "any data for async offload has been consumed when the kernel has consumed
 * the SQE" (IORING_FEAT_SUBMIT_STABLE).  Otherwise a program that closes files with requests queued
 * has its bytes written to whatever is opened next.  io_queue_iowq() has to get the file in time.
 * This does not hold for linked requests: they may name a file that an earlier request of the chain
 * opens (IORING_FEAT_LINKED_FILE).
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "harness.hpp"
#include "workers.hpp"

namespace {

/* A file of a request, and if it has two ends the other one. */
struct Ends {
	Fd ours, other;
};

/* A pipe with one byte in it. */
Ends full_pipe()
{
	PipeEnds pipe;

	if (pipe.open() || write(pipe.wr.get(), "", 1) != 1)
		return {};
	return { std::move(pipe.rd), std::move(pipe.wr) };
}

Ends empty_pipe()
{
	PipeEnds pipe;

	if (pipe.open())
		return {};
	return { std::move(pipe.wr), std::move(pipe.rd) };
}

Ends socket_pair()
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return {};
	return { Fd(fds[0]), Fd(fds[1]) };
}

bool grew(const Ends &ends)
{
	struct stat st = {};

	return fstat(ends.ours.get(), &st) == 0 && st.st_size > 0;
}

bool has_bytes(const Fd &fd)
{
	int bytes = 0;

	return ioctl(fd.get(), FIONREAD, &bytes) == 0 && bytes > 0;
}

/* How to open a file for a request, and to see whether a request was done to it. */
struct Kind {
	Ends (*open)();
	bool (*touched)(const Ends &);
};

constexpr Kind regular{ [] { return Ends{ memory_file(), Fd() }; }, grew };
constexpr Kind full{ full_pipe, [](const Ends &ends) { return !has_bytes(ends.ours); } };
constexpr Kind empty{ empty_pipe, [](const Ends &ends) { return has_bytes(ends.other); } };
constexpr Kind connected{ socket_pair, empty.touched };

using Sqe = struct io_uring_sqe;

char buffer[1];

/* Blocks the only worker of each class, so that further requests wait for one.  0, or -errno. */
int block_workers(Uring &ring, Work &bounded, Work &unbounded)
{
	if (bounded.occupy(ring) || unbounded.occupy(ring))
		return -EIO;

	const WorkerSet workers = WorkerSet::await(2);

	return workers.count() == 2 && workers.await_asleep() ? 0 : -ETIME;
}

/* Submits a request for a worker. */
int submit_async(Uring &ring, Sqe *sqe)
{
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = 100; /* No request of class Work has it. */
	return io_uring_submit(ring.get());
}

} // namespace

FIXTURE(queued) {};
FIXTURE_SETUP(queued) {}
FIXTURE_TEARDOWN(queued) {}

FIXTURE_VARIANT(queued)
{
	const Kind *kind;
	/* Prepares the request on @fd, with the other end of a splice or tee at @other. */
	void (*prepare)(Sqe *sqe, int fd, int other);
	/* Whether @fd is a slot of registered files instead of a descriptor. */
	bool fixed = false;
};

FIXTURE_VARIANT_ADD(queued, write)
{
	.kind = &regular,
	.prepare = [](Sqe *sqe, int fd, int) { io_uring_prep_write(sqe, fd, buffer, 1, 0); }
};
FIXTURE_VARIANT_ADD(queued, write_to_slot)
{
	.kind = &regular,
	.prepare = [](Sqe *sqe, int fd, int) {
		io_uring_prep_write(sqe, fd, buffer, 1, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
	},
	.fixed = true
};
FIXTURE_VARIANT_ADD(queued, fallocate)
{
	.kind = &regular,
	.prepare = [](Sqe *sqe, int fd, int) { io_uring_prep_fallocate(sqe, fd, 0, 0, 1); }
};
FIXTURE_VARIANT_ADD(queued, read)
{
	.kind = &full,
	.prepare = [](Sqe *sqe, int fd, int) { io_uring_prep_read(sqe, fd, buffer, 1, 0); }
};
FIXTURE_VARIANT_ADD(queued, send)
{
	.kind = &connected,
	.prepare = [](Sqe *sqe, int fd, int) { io_uring_prep_send(sqe, fd, buffer, 1, 0); }
};
FIXTURE_VARIANT_ADD(queued, splice_from)
{
	.kind = &full,
	.prepare = [](Sqe *sqe, int fd, int other) {
		io_uring_prep_splice(sqe, fd, -1, other, -1, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, splice_from_slot)
{
	.kind = &full,
	.prepare = [](Sqe *sqe, int fd, int other) {
		io_uring_prep_splice(sqe, fd, -1, other, -1, 1, SPLICE_F_FD_IN_FIXED);
	},
	.fixed = true
};
FIXTURE_VARIANT_ADD(queued, splice_to)
{
	.kind = &empty,
	.prepare = [](Sqe *sqe, int fd, int other) {
		io_uring_prep_splice(sqe, other, -1, fd, -1, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, tee_to)
{
	.kind = &empty,
	.prepare = [](Sqe *sqe, int fd, int other) { io_uring_prep_tee(sqe, other, fd, 1, 0); }
};

TEST_F(queued, never_of_another_file)
{
	Ends first = variant->kind->open(), second = variant->kind->open();
	Ends other = variant->kind == &full ? empty_pipe() : full_pipe();
	Work bounded(Class::bounded), unbounded(Class::unbounded);
	Uring ring;

	ASSERT_TRUE(first.ours && second.ours && other.ours);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, block_workers(ring, bounded, unbounded));
	if (variant->fixed) {
		const int fd = first.ours.get();

		ASSERT_EQ(0, io_uring_register_files(ring.get(), &fd, 1));
	}

	Sqe *sqe = io_uring_get_sqe(ring.get());
	const int number = first.ours.get();

	variant->prepare(sqe, variant->fixed ? 0 : number, other.ours.get());
	ASSERT_EQ(1, submit_async(ring, sqe));
	ASSERT_FALSE(variant->kind->touched(first))
	{
		TH_LOG("the request did not wait for a worker");
	}

	if (variant->fixed) {
		int fd = second.ours.get();

		ASSERT_EQ(1, io_uring_register_files_update(ring.get(), 0, &fd, 1));
	} else {
		/* This closes the first file, and opens the second one at its descriptor. */
		ASSERT_EQ(number, dup2(second.ours.get(), number));
	}
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.discard(3));
	ASSERT_FALSE(variant->kind->touched(second))
	{
		TH_LOG("a request was done to a file that was opened after its submission");
		TH_LOG("see io_queue_iowq(), cured in v7.3.2, and io_splice_get_file()");
	}
}

/* A tee leaves its input as it was, so that the output has to show which file it has read. */
TEST(tee_from_pipe_never_of_another)
{
	Ends first = full_pipe(), second = empty_pipe(), out = empty_pipe();
	Work bounded(Class::bounded), unbounded(Class::unbounded);
	Uring ring;

	ASSERT_TRUE(first.ours && second.ours && out.ours);
	ASSERT_EQ(1, write(second.ours.get(), "2", 1));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, block_workers(ring, bounded, unbounded));

	Sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_tee(sqe, first.ours.get(), out.ours.get(), 1, 0);
	ASSERT_EQ(1, submit_async(ring, sqe));
	ASSERT_EQ(first.ours.get(), dup2(second.other.get(), first.ours.get()));
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.discard(3));

	if (has_bytes(out.other)) {
		ASSERT_EQ(1, read(out.other.get(), buffer, 1));
	}
	ASSERT_EQ(0, buffer[0])
	{
		TH_LOG("a request read from a file that was opened after its submission");
		TH_LOG("see io_splice_get_file() in io_uring/splice.c");
	}
}

TEST_HARNESS_MAIN
