// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring comes to its end with the last reference to it, however it was made and closed, and
 * whatever it was used for besides requests; and with the last ring idle workers leave.
 * Programs register things with a ring, resize it, or let rings send messages to each other.
 * io_ring_ctx_free() lets go of all of that, and none of it may hold the ring.
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

int register_buffer(Uring &ring)
{
	const struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };

	return io_uring_register_buffers(ring.get(), &iov, 1);
}

/* Submits what was prepared, and what its completion says. */
int complete(Uring &ring)
{
	struct io_uring_cqe *cqe;

	if (const int err = io_uring_submit_and_wait(ring.get(), 1); err < 0)
		return err;
	if (const int err = io_uring_peek_cqe(ring.get(), &cqe))
		return err;

	const int res = cqe->res;

	io_uring_cqe_seen(ring.get(), cqe);
	return res;
}

int send_message(Uring &from, Uring &to)
{
	io_uring_prep_msg_ring(io_uring_get_sqe(from.get()), to.fd(), 0, 0, 0);
	return complete(from);
}

} // namespace

FIXTURE(closing) {};
FIXTURE_SETUP(closing) {}
FIXTURE_TEARDOWN(closing) {}

FIXTURE_VARIANT(closing)
{
	/* Closes the descriptor; the memory is unmapped by then. */
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

	/* By this descriptor the ring is still open, while its memory is unmapped. */
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
	/* Registers it.  Not negative, or -errno. */
	int (*with)(Uring &ring);
};

FIXTURE_VARIANT_ADD(registered, eventfd)
{
	.with = [](Uring &ring) { return io_uring_register_eventfd(ring.get(), eventfd(0, 0)); }
};
FIXTURE_VARIANT_ADD(registered, buffers) { .with = register_buffer };
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
	.with = [](Uring &ring) {
		unsigned one_each[2] = { 1, 1 };

		return io_uring_register_iowq_max_workers(ring.get(), one_each);
	}
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

FIXTURE(dealing) {};
FIXTURE_SETUP(dealing) {}
FIXTURE_TEARDOWN(dealing) {}

FIXTURE_VARIANT(dealing)
{
	/* What @from does with @to.  Not negative, or -errno. */
	int (*deal)(Uring &from, Uring &to);
	unsigned flags_of_to = 0;
	bool to_ends_first = false;
};

#define DEALING_ADD(name, ...)							\
	FIXTURE_VARIANT_ADD(dealing, name) { .deal = __VA_ARGS__ };		\
	FIXTURE_VARIANT_ADD(dealing, name##_to_first_to_end)			\
	{									\
		.deal = __VA_ARGS__, .to_ends_first = true			\
	}

DEALING_ADD(message, send_message);
DEALING_ADD(cloned_buffers, [](Uring &from, Uring &to) {
	__u32 clone_all[8] = { static_cast<__u32>(from.fd()) }; /* struct io_uring_clone_buffers */

	if (const int err = register_buffer(from))
		return err;
	return io_uring_register(static_cast<unsigned>(to.fd()), uapi::register_clone_buffers,
				 clone_all, 1);
});
/* The message is task work of its receiver, who never looks. */
FIXTURE_VARIANT_ADD(dealing, message_not_received)
{
	.deal = send_message,
	.flags_of_to = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	.to_ends_first = true
};
/*
 * A ring cannot be a fixed file of another ring, which would hold it.  The kernel refuses that,
 * but only after it has removed the file that was there before.
 */
FIXTURE_VARIANT_ADD(dealing, fixed_file)
{
	.deal = [](Uring &from, Uring &to) {
		int fd = to.fd();
		const int err = io_uring_register_files_update(from.get(), 1, &fd, 1);

		return err == -EBADF ? 0 : err < 0 ? err : -EEXIST;
	},
	.to_ends_first = true
};
FIXTURE_VARIANT_ADD(dealing, close_request)
{
	.deal = [](Uring &from, Uring &to) {
		io_uring_prep_close(io_uring_get_sqe(from.get()), to.fd());
		const int err = complete(from);

		return err == -EBADF ? 0 : err < 0 ? err : -EEXIST;
	},
	.to_ends_first = true
};

/* The task has used both rings, and is left with one of them. */
TEST_F(dealing, holds_no_ring)
{
	Uring from, to;

	ASSERT_EQ(0, from.open());
	ASSERT_EQ(0, to.open(variant->flags_of_to));
	ASSERT_EQ(0, serve(from, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = from.end();

	ASSERT_EQ(1U, worker.count());

	const RingEnd end_of_to = to.end();
	const int err = variant->deal(from, to);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_LE(0, err)
	{
		TH_LOG("dealing: %s", strerror(-err));
	}

	Uring &first = variant->to_ends_first ? to : from;
	Uring &last = variant->to_ends_first ? from : to;

	first.close();
	ASSERT_TRUE((variant->to_ends_first ? end_of_to : end).await());
	ASSERT_EQ(1U, worker.serve(last, Class::bounded, 1));
	last.close();
	ASSERT_WORKERS_EXIT(worker, variant->to_ends_first ? end : end_of_to);
}

TEST_HARNESS_MAIN
