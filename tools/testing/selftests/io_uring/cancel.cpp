// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "cancel.hpp"

#include <errno.h>

int cancel(Uring &ring, const Criteria &what, int fd)
{
	constexpr __u64 cancellation = ~0ULL;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, fd, nullptr, what.opcode, 0);
	sqe->addr = what.name;
	sqe->cancel_flags = what.flags;
	sqe->user_data = cancellation;
	if (io_uring_submit(ring.get()) != 1)
		return -EIO;
	return ring.result_of(cancellation);
}
