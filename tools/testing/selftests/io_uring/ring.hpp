/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Rings, and work for the workers behind them. */
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
	/* The same with all that io_uring_setup(2) takes. */
	int open(struct io_uring_params p);
	/* Starts a ring made with IORING_SETUP_R_DISABLED.  0, or -errno. */
	int enable();
	/*
	 * Gives a ring with IORING_SETUP_DEFER_TASKRUN and _NO_SQARRAY @entries,
	 * and maps it anew.  0, or -errno: -EINVAL where the kernel cannot.
	 */
	int resize(unsigned entries);
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

/*
 * How io-wq sorts work (io_prep_async_work()): bounded is what ends in bounded
 * time, unbounded what may wait for ever, each with workers of its own; hashed
 * is bounded, too, and done one after the other, as writes to one regular file.
 */
enum class Class { bounded, unbounded, hashed };

/* An empty file in memory, without a name. */
Fd memory_file();

/*
 * Requests for workers.  Bounded and unbounded ones each occupy a worker until
 * released, as they are neither polled for nor tried without blocking:
 * - bounded: IORING_OP_OPENAT of a file that is leased (F_SETLEASE in fcntl(2));
 * - unbounded: IORING_OP_SPLICE from an empty pipe to another.
 * Neither needs a file system to be writable, nor any file to exist but those in /proc.
 * With IOSQE_ASYNC, io_wq_enqueue() does not wait for a worker to be free.
 *
 * Hashed ones end by themselves, one after the other in one worker:
 * IORING_OP_WRITE to a file in memory, which has no buffered writes that do not
 * block (io_write()).  Without IOSQE_ASYNC: the kernel hashes by file, and
 * before v7.3.2 knew none yet for a request with that flag.
 */
class Work {
public:
	/* With @flags for all requests but the last, as those that make links. */
	explicit Work(Class c, unsigned nr = 1, unsigned flags = 0) : kind(c), nr(nr), flags(flags)
	{
	}

	/*
	 * Opens the files.  Done before a fork, one process can submit what another
	 * releases.  0, or -errno.
	 */
	int open();
	/* Opens the files if need be, queues and submits the requests.  0, or -errno. */
	int submit(Uring &ring);
	/* Lets every request complete with 0.  After submit(), once.  0, or -errno. */
	int release();
	/* What the requests have in common. */
	__u64 user_data() const;

private:
	void prepare(struct io_uring_sqe *sqe);

	Class kind;
	unsigned nr, flags;
	/* What is written to or opened, and how the latter is called. */
	Fd file;
	std::string path;
	/* From where unbounded requests get their bytes, and where these go. */
	PipeEnds gate, sink;
};

/*
 * Has workers of class @c do @nr requests, and reaps them.  A worker did them
 * when this returns 0; else -errno or the result that was not expected.
 */
int serve(Uring &ring, Class c, unsigned nr = 1);

#endif /* RING_HPP */
