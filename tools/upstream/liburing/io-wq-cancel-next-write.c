/* SPDX-License-Identifier: MIT */
/*
 * Description: A buffered write is done, though an earlier one to the same file
 *		was cancelled while it was queued in io-wq.
 *
 * Writes to one file are hashed, and io-wq remembers the last one of each hash
 * for the next to be queued behind it. When that one is cancelled, what it
 * stood behind may only take its place if it is of the same hash: else the next
 * write follows a request which never passes it on. There are 64 hashes, hence
 * many files.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define NR_FILES	128
#define NR_BATCHES	4

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-cancel-next-write.%d", dirs[i], getpid());
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

static int submit(struct io_uring *ring)
{
	int ret;

	ret = io_uring_submit(ring);
	if (ret == 1)
		return 0;
	fprintf(stderr, "submit: %d\n", ret);
	return -1;
}

static int wait_res(struct io_uring *ring)
{
	struct __kernel_timespec ts = { .tv_sec = 5 };
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	if (ret)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

static int queue_write(struct io_uring *ring, int fd, int i)
{
	struct io_uring_sqe *sqe;

	sqe = io_uring_get_sqe(ring);
	io_uring_prep_write(sqe, fd, "x", 1, 0);
	sqe->user_data = i + 1;
	return submit(ring);
}

static int queue_and_cancel_write(struct io_uring *ring, int fd, int i)
{
	struct io_uring_sqe *sqe;
	int j, ret;

	if (queue_write(ring, fd, i))
		return T_EXIT_FAIL;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_cancel64(sqe, i + 1, 0);
	if (submit(ring))
		return T_EXIT_FAIL;
	/* One says 0, the other one -ECANCELED; or the write was not queued at all. */
	for (j = 0, ret = 0; j < 2; j++)
		ret += wait_res(ring);
	if (ret == 1 - ENOENT)
		return T_EXIT_SKIP;
	if (ret == -ECANCELED)
		return T_EXIT_PASS;
	fprintf(stderr, "a queued write was not cancelled: %d\n", ret);
	return T_EXIT_FAIL;
}

static int test_batch(struct io_uring *ring)
{
	static int files[NR_FILES];
	struct io_uring_sqe *sqe;
	int i, gate, ret;
	char fifo[64];

	/* Has the one worker block, and one more request be queued, which is no write. */
	if (make_fifo(fifo, sizeof(fifo)))
		return T_EXIT_SKIP;
	for (i = 0; i < 2; i++) {
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
		sqe->flags |= IOSQE_ASYNC;
		if (submit(ring))
			return T_EXIT_FAIL;
	}
	for (i = 0; i < NR_FILES; i++) {
		files[i] = memfd_create("io-wq-cancel-next-write", MFD_CLOEXEC);
		if (files[i] < 0)
			return T_EXIT_SKIP;
		/* Keeps the inode, for the next ones to be elsewhere in memory. */
		mmap(NULL, 1, PROT_READ, MAP_SHARED, files[i], 0);
		ret = queue_and_cancel_write(ring, files[i], i);
		if (ret)
			return ret;
	}
	gate = open(fifo, O_RDWR);
	for (i = 0; i < 2; i++) {
		ret = wait_res(ring);
		if (ret < 0) {
			fprintf(stderr, "open: %d\n", ret);
			return T_EXIT_FAIL;
		}
		close(ret);
	}
	close(gate);

	for (i = 0; i < NR_FILES; i++) {
		if (queue_write(ring, files[i], i))
			return T_EXIT_FAIL;
		ret = wait_res(ring);
		close(files[i]);
		if (ret != 1) {
			fprintf(stderr, "a write after a cancelled one: %d\n", ret);
			return T_EXIT_FAIL;
		}
	}
	return T_EXIT_PASS;
}

static int test(void)
{
	unsigned int one_worker[2] = { 1, 1 };
	int ret = T_EXIT_PASS, i;
	struct io_uring ring;

	if (t_create_ring(8, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	if (io_uring_register_iowq_max_workers(&ring, one_worker))
		return T_EXIT_SKIP;
	for (i = 0; i < NR_BATCHES && ret == T_EXIT_PASS; i++)
		ret = test_batch(&ring);
	return ret;
}

int main(int argc, char *argv[])
{
	int fds[2], ret = T_EXIT_FAIL;
	char verdict;
	pid_t pid;

	if (argc > 1)
		return T_EXIT_SKIP;

	/* A process with a lost request may never end: we do not wait for it. */
	if (pipe2(fds, O_CLOEXEC) < 0) {
		perror("pipe2");
		return T_EXIT_FAIL;
	}
	pid = fork();
	if (pid < 0) {
		perror("fork");
		return T_EXIT_FAIL;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		verdict = test();
		if (write(fds[1], &verdict, 1) != 1)
			perror("write");
		pause();
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &verdict, 1) == 1)
		ret = verdict;
	kill(pid, SIGKILL);
	if (ret != T_EXIT_FAIL)
		waitpid(pid, NULL, 0);
	return ret;
}
