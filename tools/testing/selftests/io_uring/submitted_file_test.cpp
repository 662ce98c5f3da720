// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request that waits for a worker is about the file that its descriptor was of at submission,
 * or it fails.  It is never about another file that has got the same number since.  By
 * io_uring_setup(2), "any data for async offload has been consumed when the kernel has consumed
 * the SQE" (IORING_FEAT_SUBMIT_STABLE).  Otherwise a program that closes files with requests queued
 * has its bytes written to whatever is opened next.  io_queue_iowq() has to take the file along.
 * Requests that are linked may name files that are yet to come (IORING_FEAT_LINKED_FILE), and are
 * not meant.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "harness.hpp"
#include "workers.hpp"

namespace {

constexpr __u64 name = 100; /* that class Work does not use */

/* Something to write to, or to read one byte from. */
struct Ends {
	Fd ours, other;
};

Ends memory_file()
{
	Fd file = ::memory_file();
	Fd copy = Fd::from(dup(file.get()));

	return { std::move(file), std::move(copy) };
}

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

bool received(const Ends &ends)
{
	return has_bytes(ends.other);
}

bool drained(const Ends &ends)
{
	return !has_bytes(ends.ours);
}

char buffer[1];

} // namespace

FIXTURE(queued) {};
FIXTURE_SETUP(queued) {}
FIXTURE_TEARDOWN(queued) {}

FIXTURE_VARIANT(queued)
{
	/* A file for a request, and whether one was done to it. */
	Ends (*open)();
	bool (*touched)(const Ends &);
	/* The request on @fd.  What else it needs is @empty, or full. */
	void (*prepare)(struct io_uring_sqe *sqe, int fd, int empty);
	/* Whether it names a slot of registered files instead of a descriptor. */
	bool fixed = false;
};

FIXTURE_VARIANT_ADD(queued, write)
{
	.open = memory_file, .touched = grew,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int) {
		io_uring_prep_write(sqe, fd, buffer, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, write_to_slot)
{
	.open = memory_file, .touched = grew,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int) {
		io_uring_prep_write(sqe, fd, buffer, 1, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
	},
	.fixed = true
};
FIXTURE_VARIANT_ADD(queued, fallocate)
{
	.open = memory_file, .touched = grew,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int) {
		io_uring_prep_fallocate(sqe, fd, 0, 0, 1);
	}
};
FIXTURE_VARIANT_ADD(queued, read)
{
	.open = full_pipe, .touched = drained,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int) {
		io_uring_prep_read(sqe, fd, buffer, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, send)
{
	.open = socket_pair, .touched = received,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int) {
		io_uring_prep_send(sqe, fd, buffer, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, splice_from)
{
	.open = full_pipe, .touched = drained,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int empty) {
		io_uring_prep_splice(sqe, fd, -1, empty, -1, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, splice_from_slot)
{
	.open = full_pipe, .touched = drained,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int empty) {
		io_uring_prep_splice(sqe, fd, -1, empty, -1, 1, SPLICE_F_FD_IN_FIXED);
	},
	.fixed = true
};
FIXTURE_VARIANT_ADD(queued, splice_to)
{
	.open = empty_pipe, .touched = received,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int full) {
		io_uring_prep_splice(sqe, full, -1, fd, -1, 1, 0);
	}
};
FIXTURE_VARIANT_ADD(queued, tee_to)
{
	.open = empty_pipe, .touched = received,
	.prepare = [](struct io_uring_sqe *sqe, int fd, int full) {
		io_uring_prep_tee(sqe, full, fd, 1, 0);
	}
};

TEST_F(queued, never_of_another_file)
{
	unsigned one_worker[2] = { 1, 1 };
	Work bounded(Class::bounded), unbounded(Class::unbounded);
	Ends first = variant->open(), second = variant->open();
	Ends any = variant->open == full_pipe ? empty_pipe() : full_pipe();
	Uring ring;

	ASSERT_TRUE(first.ours && second.ours && any.ours);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), one_worker));
	ASSERT_EQ(0, bounded.submit(ring));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet workers = WorkerSet::await(2);

	ASSERT_EQ(2U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	if (variant->fixed) {
		const int fd = first.ours.get();

		ASSERT_EQ(0, io_uring_register_files(ring.get(), &fd, 1));
	}

	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());
	const int number = first.ours.get();

	variant->prepare(sqe, variant->fixed ? 0 : number, any.ours.get());
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = name;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_FALSE(variant->touched(first))
	{
		TH_LOG("the request did not wait for a worker");
	}

	if (variant->fixed) {
		int fd = second.ours.get();

		ASSERT_EQ(1, io_uring_register_files_update(ring.get(), 0, &fd, 1));
	} else {
		/* Closed, and opened again with another file behind it. */
		ASSERT_EQ(number, dup2(second.ours.get(), number))
		{
			TH_LOG("%s", strerror(errno));
		}
	}
	ASSERT_EQ(0, bounded.release());
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.discard(3));
	ASSERT_FALSE(variant->touched(second))
	{
		TH_LOG("a request was done to a file that was opened after its submission");
		TH_LOG("v7.3.2 cures this, but for what splices:");
		TH_LOG("see io_queue_iowq(), io_splice_get_file()");
	}
}

/* A tee takes the file that it reads from late as well. */
TEST(tee_from_pipe_never_of_another)
{
	unsigned one_worker[2] = { 1, 1 };
	Work unbounded(Class::unbounded);
	Ends first = full_pipe(), second = empty_pipe(), out = empty_pipe();
	Uring ring;

	ASSERT_TRUE(first.ours && second.ours && out.ours);
	ASSERT_EQ(1, write(second.ours.get(), "2", 1));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), one_worker));
	ASSERT_EQ(0, unbounded.submit(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());

	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_tee(sqe, first.ours.get(), out.ours.get(), 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = name;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(first.ours.get(), dup2(second.other.get(), first.ours.get()));
	ASSERT_EQ(0, unbounded.release());
	ASSERT_EQ(0, ring.discard(2));

	char byte = 0;

	if (has_bytes(out.other)) {
		ASSERT_EQ(1, read(out.other.get(), &byte, 1));
	}
	ASSERT_EQ(0, byte)
	{
		TH_LOG("a request read from a file that was opened after its submission");
		TH_LOG("see io_splice_get_file() in io_uring/splice.c");
	}
}

TEST_HARNESS_MAIN
