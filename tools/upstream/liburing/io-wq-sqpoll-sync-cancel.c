/* SPDX-License-Identifier: MIT */
/*
 * Description: IORING_REGISTER_SYNC_CANCEL finds a request that an io-wq worker
 *		of an SQPOLL ring is blocked in.
 *
 * The pool is that of the SQPOLL thread, not that of the task that asks.
 * IORING_OP_ASYNC_CANCEL finds it, as it is the thread which does that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-sqpoll-sync-cancel.%d", dirs[i], getpid());
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

static int nr_threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) < 0 ? -1 : (int) st.st_nlink - 2;
}

static int test(unsigned int flags)
{
	struct io_uring_sync_cancel_reg reg = {
		.addr = 1,
		.timeout = { .tv_sec = 5 },
	};
	struct __kernel_timespec ts = { .tv_sec = 5 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct timeval start;
	struct io_uring ring;
	int ret, others, gate;
	char fifo[64];

	if (t_create_ring(4, &ring, flags) != T_SETUP_OK || make_fifo(fifo, sizeof(fifo)))
		return T_EXIT_SKIP;

	others = nr_threads();
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = 1;
	ret = io_uring_submit(&ring);
	if (ret != 1) {
		fprintf(stderr, "submit: %d\n", ret);
		return T_EXIT_FAIL;
	}
	gettimeofday(&start, NULL);
	while (nr_threads() == others) {
		if (mtime_since_now(&start) > 5000) {
			fprintf(stderr, "no worker came\n");
			return T_EXIT_FAIL;
		}
		usleep(1000);
	}

	ret = io_uring_register_sync_cancel(&ring, &reg);
	if (ret == -EINVAL)
		return T_EXIT_SKIP;
	gate = open(fifo, O_RDWR);
	if (ret) {
		fprintf(stderr, "sync cancel%s: %d\n",
			flags & IORING_SETUP_SQPOLL ? " with SQPOLL" : "", ret);
		return T_EXIT_FAIL;
	}

	ret = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
	if (ret) {
		fprintf(stderr, "wait cqe: %d\n", ret);
		return T_EXIT_FAIL;
	}
	if (cqe->res >= 0)
		close(cqe->res);
	io_uring_queue_exit(&ring);
	close(gate);
	return T_EXIT_PASS;
}

int main(int argc, char *argv[])
{
	int ret;

	if (argc > 1)
		return T_EXIT_SKIP;

	ret = test(0);
	if (ret == T_EXIT_PASS)
		ret = test(IORING_SETUP_SQPOLL);
	return ret;
}
