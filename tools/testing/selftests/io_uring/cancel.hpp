/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Cancellations, for tests of what they find. */
#ifndef CANCEL_HPP
#define CANCEL_HPP

#include "ring.hpp"

/* Newer than liburing 2.3. */
#ifndef IORING_ASYNC_CANCEL_USERDATA
#define IORING_ASYNC_CANCEL_USERDATA (1U << 4)
#define IORING_ASYNC_CANCEL_OP (1U << 5)
#endif

/* What a cancellation asks for, but for its file. */
struct Criteria {
	unsigned flags = 0;
	__u64 name = 0;
	unsigned opcode = 0;
};

/*
 * Cancels what @what and, with IORING_ASYNC_CANCEL_FD, @fd ask for.  The result, which is
 * that of io_async_cancel(): 0, -EALREADY, -ENOENT, ...; -EIO if it was not submitted.  The
 * completion is left to be taken.
 */
int cancel(Uring &ring, const Criteria &what, int fd = -1);

#endif /* CANCEL_HPP */
