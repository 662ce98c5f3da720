// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Two rings end each by itself, whatever one has done with the other: sent it a message, given it
 * its registered buffers, or tried to register or close it like a file.  A task that used both
 * keeps its workers until the later one has ended.  Programs with a ring for each thread, which
 * pass work on by messages, rely on that.
 * io_ring_ctx_free() lets go of all that a ring has from another one.
 */
#include <errno.h>
#include <string.h>

#include "promise.hpp"

namespace {

alignas(65536) char buffer[65536]; /* the largest page that Linux has */

int register_buffer(Uring &ring)
{
	const struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };

	return io_uring_register_buffers(ring.get(), &iov, 1);
}

/* Submits the request that was prepared.  Its result, or -errno. */
int complete(Uring &ring)
{
	const int ret = io_uring_submit(ring.get());

	return ret < 0 ? ret : ring.take().result;
}

int send_message(Uring &from, Uring &to)
{
	io_uring_prep_msg_ring(io_uring_get_sqe(from.get()), to.fd(), 0, 0, 0);
	return complete(from);
}

/* 0 if the kernel refused a ring as a file, as it should; else -errno. */
int refused(int result)
{
	return result == -EBADF ? 0 : result < 0 ? result : -EEXIST;
}

} // namespace

FIXTURE(dealing) {};
FIXTURE_SETUP(dealing) {}
FIXTURE_TEARDOWN(dealing) {}

FIXTURE_VARIANT(dealing)
{
	/* @from does something with @to.  Not negative, or -errno. */
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
/* The message is task work of the receiver, who never runs it. */
FIXTURE_VARIANT_ADD(dealing, message_not_received)
{
	.deal = send_message,
	.flags_of_to = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	.to_ends_first = true
};
/*
 * The kernel refuses a ring as a fixed file of another ring, as one would hold the other.  But
 * before that it has removed the file that was there.
 */
FIXTURE_VARIANT_ADD(dealing, fixed_file)
{
	.deal = [](Uring &from, Uring &to) {
		int fd = to.fd();

		return refused(io_uring_register_files_update(from.get(), 1, &fd, 1));
	},
	.to_ends_first = true
};
FIXTURE_VARIANT_ADD(dealing, close_request)
{
	.deal = [](Uring &from, Uring &to) {
		io_uring_prep_close(io_uring_get_sqe(from.get()), to.fd());
		return refused(complete(from));
	},
	.to_ends_first = true
};

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
