/* SPDX-License-Identifier: MIT */
/*
 * Description: A buffered write that an io-wq worker has taken off the list, but
 *		not started, can be cancelled.
 *
 * Writes to one file are hashed: a worker takes all of them at once, and does
 * one after the other. A cancellation has to find those that it has yet to
 * start, or says -ENOENT, and the write is done nevertheless.
 *
 * Not with IOSQE_ASYNC: the kernel may then not know the file yet when it asks
 * whether to hash. Writes to a memfd would block, and are left to a worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define FIRST_LEN	(64 << 20)
#define TRIES		20

enum { BLOCKER = 1, FIRST, SECOND, LAST, CANCEL, NR };

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-cancel-unstarted.%d", dirs[i], getpid());
		if (mkfifo(name, 0600) < 0)
			continue;
		fd = open(name, O_PATH | O_CLOEXEC);
		unlink(name);
		if (fd < 0)
			continue;
		snprintf(path, len, "/proc/self/fd/%d", fd);
		return 0;
	}
	return -1;
}

static void queue_write(struct io_uring *ring, int fd, const void *buf,
			unsigned int len, __u64 user_data)
{
	struct io_uring_sqe *sqe;

	sqe = io_uring_get_sqe(ring);
	io_uring_prep_write(sqe, fd, buf, len, 0);
	sqe->user_data = user_data;
}

static off_t file_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

/* Takes note of the completions that are there. */
static void reap(struct io_uring *ring, int *res, int *done)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(ring, &cqe)) {
		res[cqe->user_data] = cqe->res;
		done[cqe->user_data] = 1;
		io_uring_cqe_seen(ring, cqe);
	}
}

static bool all_done(const int *done)
{
	return done[BLOCKER] && done[FIRST] && done[SECOND] && done[LAST] && done[CANCEL];
}

/* T_EXIT_SKIP if the worker was too quick. */
static int test(const void *zeroes)
{
	unsigned int one_worker[2] = { 1, 1 };
	int res[NR] = { }, done[NR] = { };
	struct io_uring_sqe *sqe;
	struct timeval start;
	struct io_uring ring;
	int file, gate, ret;
	char fifo[64];

	if (t_create_ring(8, &ring, 0) != T_SETUP_OK || make_fifo(fifo, sizeof(fifo)))
		return T_EXIT_SKIP;
	if (io_uring_register_iowq_max_workers(&ring, one_worker))
		return T_EXIT_SKIP;
	file = memfd_create("io-wq-cancel-unstarted", MFD_CLOEXEC);
	if (file < 0)
		return T_EXIT_SKIP;

	/* All writes are queued behind this one. */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = BLOCKER;
	queue_write(&ring, file, zeroes, FIRST_LEN, FIRST);
	queue_write(&ring, file, "x", 1, SECOND);
	queue_write(&ring, file, "x", 1, LAST);
	ret = io_uring_submit(&ring);
	if (ret != 4) {
		fprintf(stderr, "submit: %d\n", ret);
		return T_EXIT_FAIL;
	}

	/* A part of the first write in the file says that the worker has them all. */
	gate = open(fifo, O_RDWR);
	gettimeofday(&start, NULL);
	while (!file_size(file) && mtime_since_now(&start) < 10000)
		;

	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_cancel64(sqe, LAST, 0);
	sqe->user_data = CANCEL;
	ret = io_uring_submit(&ring);
	if (ret != 1) {
		fprintf(stderr, "submit: %d\n", ret);
		return T_EXIT_FAIL;
	}
	reap(&ring, res, done);
	/* Still at the first one: so the last one was not started. */
	ret = done[CANCEL] && !done[FIRST] ? T_EXIT_PASS : T_EXIT_SKIP;

	gettimeofday(&start, NULL);
	while (!all_done(done) && mtime_since_now(&start) < 10000) {
		usleep(1000);
		reap(&ring, res, done);
	}
	if (!all_done(done)) {
		fprintf(stderr, "a request is not done\n");
		return T_EXIT_FAIL;
	}
	io_uring_queue_exit(&ring);
	close(res[BLOCKER]);
	close(gate);
	close(file);
	if (ret == T_EXIT_SKIP)
		return ret;

	if (res[CANCEL] != -EALREADY && res[CANCEL] != 0) {
		fprintf(stderr, "cancel of a write that is not started: %d\n", res[CANCEL]);
		ret = T_EXIT_FAIL;
	}
	if (res[LAST] != -ECANCELED) {
		fprintf(stderr, "the cancelled write: %d\n", res[LAST]);
		ret = T_EXIT_FAIL;
	}
	return ret;
}

int main(int argc, char *argv[])
{
	int ret = T_EXIT_SKIP, i;
	void *zeroes;

	if (argc > 1)
		return T_EXIT_SKIP;

	zeroes = mmap(NULL, FIRST_LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zeroes == MAP_FAILED)
		return T_EXIT_SKIP;
	for (i = 0; i < TRIES && ret == T_EXIT_SKIP; i++)
		ret = test(zeroes);
	return ret;
}
