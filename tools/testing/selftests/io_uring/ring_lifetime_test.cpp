// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring ends with the last reference to it, whatever system call closes it, whatever is
 * registered with it, and though it was resized; and with the last ring idle workers leave.
 * Programs that use these features rely on that.
 * io_ring_ctx_free() lets go of all that is registered, and none of it may hold the ring.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>

#include "promise.hpp"

namespace {

constexpr size_t page = 65536; /* the largest that Linux has */
alignas(page) char buffer[page];

} // namespace

FIXTURE(closing) {};
FIXTURE_SETUP(closing) {}
FIXTURE_TEARDOWN(closing) {}

FIXTURE_VARIANT(closing)
{
	/* Closes the descriptor after the ring's memory was unmapped. */
	int (*close)(int fd);
};

FIXTURE_VARIANT_ADD(closing, by_close_range)
{
	.close = [](int fd) {
		const auto first = static_cast<unsigned>(fd);

		return static_cast<int>(syscall(SYS_close_range, first, first, 0));
	}
};
FIXTURE_VARIANT_ADD(closing, by_dup2)
{
	.close = [](int fd) { return dup2(STDERR_FILENO, fd) == fd ? 0 : -1; }
};
FIXTURE_VARIANT_ADD(closing, by_another_thread)
{
	.close = [](int fd) {
		int ret = -1;

		std::thread([&] { ret = close(fd); }).join();
		return ret;
	}
};

TEST_F(closing, ends_ring)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());

	/* This descriptor keeps the ring open as its memory is unmapped. */
	const int fd = dup(ring.fd());

	ASSERT_LE(0, fd);
	ring.close();
	if (variant->close(fd)) {
		ASSERT_TRUE(errno == EPERM || errno == ENOSYS);
		SKIP(return, "%s", skip::no_unshare);
	}
	ASSERT_WORKERS_EXIT(worker, end);
}

FIXTURE(registered) {};
FIXTURE_SETUP(registered) {}
FIXTURE_TEARDOWN(registered) {}

FIXTURE_VARIANT(registered)
{
	/* Registers something with @ring.  Not negative, or -errno. */
	int (*with)(Uring &ring);
};

FIXTURE_VARIANT_ADD(registered, eventfd)
{
	.with = [](Uring &ring) { return io_uring_register_eventfd(ring.get(), eventfd(0, 0)); }
};
FIXTURE_VARIANT_ADD(registered, buffers)
{
	.with = [](Uring &ring) {
		const struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };

		return io_uring_register_buffers(ring.get(), &iov, 1);
	}
};
FIXTURE_VARIANT_ADD(registered, provided_buffers)
{
	.with = [](Uring &ring) {
		struct io_uring_buf_reg reg = {};

		reg.ring_addr = reinterpret_cast<uintptr_t>(buffer);
		reg.ring_entries = 8;
		return io_uring_register_buf_ring(ring.get(), &reg, 0);
	}
};
FIXTURE_VARIANT_ADD(registered, personality)
{
	.with = [](Uring &ring) { return io_uring_register_personality(ring.get()); }
};
FIXTURE_VARIANT_ADD(registered, worker_limits)
{
	.with = [](Uring &ring) { return ring.limit_workers(1, 1); }
};
/* The ring is registered with the task; liburing unregisters it as the ring is closed. */
FIXTURE_VARIANT_ADD(registered, its_own_fd)
{
	.with = [](Uring &ring) { return io_uring_register_ring_fd(ring.get()); }
};

TEST_F(registered, ends_with_ring)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());

	const int err = variant->with(ring);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_LE(0, err)
	{
		TH_LOG("registration: %s", strerror(-err));
	}
	ASSERT_EQ(1U, worker.serve(ring, Class::bounded, 1));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST(resized)
{
	Uring ring;
	int err = ring.open(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			    IORING_SETUP_NO_SQARRAY);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());

	err = ring.resize(256);
	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_EQ(0, err)
	{
		TH_LOG("IORING_REGISTER_RESIZE_RINGS: %s", strerror(-err));
	}
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
