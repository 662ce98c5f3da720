/* SPDX-License-Identifier: GPL-2.0 */
/* Rings, the event of their end, and work for the workers behind them. */
#ifndef RING_HPP
#define RING_HPP

#include <liburing.h>
#include <vector>

#include "deadline.hpp"
#include "fd.hpp"

/* liburing.h brings its own <linux/io_uring.h>, which may be an old one. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

/*
 * The end of a ring, as an event: the only write end of a pipe, held by the
 * ring as a registered file.  io_ring_ctx_free() lets go of it, and only after
 * io_ring_exit_work() made every task that used the ring drop its tctx node,
 * that is, after the kernel decided about these tasks' idle workers.
 */
class RingEnd {
public:
	explicit RingEnd(Fd rd) : rd(std::move(rd)) {}

	/* Reports POLLHUP once the ring is gone. */
	int fd() const { return rd.get(); }
	/* True once the ring is gone, false if limit::event passed before. */
	bool await() const;

private:
	Fd rd;
};

class Ring {
public:
	Ring() = default;
	Ring(Ring &&other) noexcept;
	Ring &operator=(Ring &&other) noexcept;
	~Ring() { close(); }

	/*
	 * A ring of 64 entries; @wq_fd goes with IORING_SETUP_ATTACH_WQ.
	 * 0, or -errno: -EINVAL where the kernel does not know a flag.
	 */
	int open(unsigned flags = 0, int wq_fd = -1);
	/* Starts a ring made with IORING_SETUP_R_DISABLED.  0, or -errno. */
	int enable();
	/* Unmaps and closes the ring.  Its end comes later, see RingEnd. */
	void close();

	/* The event of this ring's end, for an open ring without fixed files. */
	RingEnd end();

	/*
	 * Takes @nr completions.  0 if each has the result @want; else the first
	 * other result, or -ETIME where limit::event passed with some missing.
	 */
	int reap(unsigned nr, int want = 0);

	int fd() const { return ring.ring_fd; }
	struct io_uring *get() { return &ring; }

private:
	struct io_uring ring = {};
	bool opened = false;
};

/*
 * How io-wq sorts work (io_prep_async_work()): bounded is what ends in bounded
 * time, unbounded what may wait for ever, each with workers of its own; hashed
 * is bounded, too, and done one after the other, as writes to one regular file.
 */
enum class Class { bounded, unbounded, hashed };

/*
 * Requests that each occupy a worker until released.  Neither is polled for or
 * tried without blocking, so that it is a worker that waits:
 * - bounded: IORING_OP_OPENAT of a FIFO that nobody writes to;
 * - unbounded: IORING_OP_SPLICE from an empty pipe to /dev/null;
 * - hashed: IORING_OP_SPLICE from an empty pipe to one regular file.
 * With IOSQE_ASYNC, io_wq_enqueue() does not wait for a worker to be free.  Not
 * for the hashed: the kernel hashes by file, and before v7.3.2 knew none yet for
 * a request with that flag.  It took all reads and writes for unbounded then.
 */
class Work {
public:
	explicit Work(Class c, unsigned nr = 1) : kind(c), nr(nr) {}

	/* Opens the files, queues and submits the requests.  0, or -errno. */
	int submit(Ring &ring);
	/* Lets every request complete with 0.  After submit().  0, or -errno. */
	int release();

private:
	void prepare(struct io_uring_sqe *sqe);

	Class kind;
	unsigned nr;
	/* The input, and what lets go of those who wait for it. */
	Pipe gate;
	Fd sink;
	char fifo[32];
};

/*
 * Has workers of class @c do @nr requests, and reaps them.  A worker did them
 * when this returns 0; else -errno or the result that was not expected.
 */
int serve(Ring &ring, Class c, unsigned nr = 1);

#endif /* RING_HPP */
