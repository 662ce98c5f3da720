/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Work for workers. */
#ifndef WORK_HPP
#define WORK_HPP

#include <string>

#include "fd.hpp"
#include "ring.hpp"

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
	/*
	 * Allows one worker of each class, and submits: the one worker of this class blocks in
	 * the first request, until release().  0, or -errno.
	 */
	int occupy(Uring &ring);
	/* Lets every request complete with 0.  After submit(), once.  0, or -errno. */
	int release();
	/* What the requests have in common. */
	__u64 user_data() const;
	/*
	 * 0 if a completion is that of a request that was done, else its result.  Closes the
	 * file that a bounded request opened.
	 */
	static int result(const struct io_uring_cqe *cqe);

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
 * Queue a request for a worker, with the user_data @name, which no request of class Work may have:
 * a write of one byte, hashed by its file, or one that does nothing.
 */
void queue_write(Uring &ring, const Fd &file, const void *byte, __u64 name, unsigned flags = 0);
void queue_nop(Uring &ring, __u64 name);

/*
 * Has workers of class @c do @nr requests, and reaps them.  A worker did them
 * when this returns 0; else -errno or the result that was not expected.
 */
int serve(Uring &ring, Class c, unsigned nr = 1);

#endif /* WORK_HPP */
