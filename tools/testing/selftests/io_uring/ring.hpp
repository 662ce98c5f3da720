/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Rings. */
#ifndef RING_HPP
#define RING_HPP

#include <liburing.h>
#include <string>
#include <vector>

#include "deadline.hpp"
#include "ring_end.hpp"

/* liburing.h brings its own <linux/io_uring.h>, which may be an old one. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

/* What it has as enumerators, which the preprocessor does not see. */
namespace uapi {
inline constexpr unsigned use_registered_ring = 1U << 31;
inline constexpr unsigned register_clone_buffers = 30;
inline constexpr unsigned register_resize_rings = 33;
}

/* What is told of a request that has ended. */
struct TakenCqe {
	int result;
	unsigned flags;
};

class Uring {
public:
	Uring() = default;
	Uring(Uring &&other) noexcept;
	Uring &operator=(Uring &&other) noexcept;
	~Uring() { close(); }

	/*
	 * A ring of 64 entries; @wq_fd goes with IORING_SETUP_ATTACH_WQ.
	 * 0, or -errno: -EINVAL where the kernel does not know a flag.
	 */
	int open(unsigned flags = 0, int wq_fd = -1);
	/* The same with all that io_uring_setup(2) takes, and @p.sq_entries if not 0. */
	int open(struct io_uring_params p);
	/*
	 * A ring whose SQPOLL thread sleeps after @idle_ms without work: a thread of its own, or
	 * with IORING_SETUP_ATTACH_WQ that of the ring @wq_fd.
	 */
	int open_sqpoll(unsigned flags = 0, unsigned idle_ms = 1, int wq_fd = -1);
	/* Starts a ring made with IORING_SETUP_R_DISABLED.  0, or -errno. */
	int enable();
	/*
	 * Gives a ring with IORING_SETUP_DEFER_TASKRUN and _NO_SQARRAY @entries,
	 * and maps it anew.  0, or -errno: -EINVAL where the kernel cannot.
	 */
	int resize(unsigned entries);
	/* Sets how many workers of each class there may be; 0 changes nothing.  0, or -errno. */
	int limit_workers(unsigned bounded, unsigned unbounded);
	/* Goes on with the requests after those that another process submitted. */
	void catch_up() { ring.sq.sqe_head = ring.sq.sqe_tail = *ring.sq.ktail; }
	/* Unmaps and closes the ring.  Its end comes later, see RingEnd. */
	void close();

	/*
	 * The event of this ring's end, for an open ring without fixed files: it is
	 * file 0, and file 1 is free for the test.  Throws std::system_error, which fails
	 * the test, if it cannot be registered: no wait for it would come to an end.
	 */
	RingEnd end();

	/*
	 * Takes @nr completions.  0 if each has the result @want; else the first
	 * other result, or -ETIME where limit::event passed with some missing.
	 */
	int reap(unsigned nr, int want = 0);
	/* Takes @nr completions, whatever their results.  0, or -ETIME. */
	int discard(unsigned nr);

	/* Takes the next completion.  Its result is -ETIME if limit::event passed before. */
	TakenCqe take();
	/*
	 * The result of the request @user_data if it is among the completions that are there,
	 * else -EINPROGRESS.  Leaves them to be taken.
	 */
	int result_of(__u64 user_data);

	int fd() const { return ring.ring_fd; }
	struct io_uring *get() { return &ring; }

	/* Awaits the next completion, and leaves it to be taken.  0, or -errno. */
	int wait(struct io_uring_cqe **cqe, const Deadline &deadline);
	/*
	 * Awaits that @nr completions are there to be taken, until @limit.  How many are.
	 * Leaves them, and does not enter the kernel.
	 */
	unsigned await_ready(unsigned nr, milliseconds limit = limit::event) const;

private:
	int map(int fd, struct io_uring_params &p);

	struct io_uring ring = {};
	bool opened = false;
};

#endif /* RING_HPP */
