/* SPDX-License-Identifier: MIT */
/*
 * Description: A request that a signal interrupts in an io-wq worker completes
 *		with an error that user space knows, as -EINTR.
 *
 * -ERESTARTSYS (-512) and its like are for the kernel alone. A worker that
 * blocks in open(2) gets there when its process is stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

/* The last error number that user space knows is below. */
#define ERESTARTSYS	512

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-internal-error.%d", dirs[i], getpid());
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

static int test(void)
{
	struct __kernel_timespec ts = { .tv_sec = 1 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct timeval start;
	struct io_uring ring;
	int ret, others;
	char fifo[64];

	if (t_create_ring(4, &ring, 0) != T_SETUP_OK || make_fifo(fifo, sizeof(fifo)))
		return T_EXIT_SKIP;

	others = nr_threads();
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
	sqe->flags |= IOSQE_ASYNC;
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
	/* No event tells when it sleeps in open(2). */
	usleep(50000);

	raise(SIGSTOP);
	ret = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
	if (ret == -ETIME || ret == -EINTR)
		return T_EXIT_PASS;	/* It was started anew. */
	if (ret) {
		fprintf(stderr, "wait cqe: %d\n", ret);
		return T_EXIT_FAIL;
	}
	if (cqe->res <= -ERESTARTSYS) {
		fprintf(stderr, "an interrupted open: %d\n", cqe->res);
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}

int main(int argc, char *argv[])
{
	int status;
	pid_t pid;

	if (argc > 1)
		return T_EXIT_SKIP;

	pid = fork();
	if (pid < 0) {
		perror("fork");
		return T_EXIT_FAIL;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(test());
	}
	if (waitpid(pid, &status, WUNTRACED) < 0) {
		perror("waitpid");
		return T_EXIT_FAIL;
	}
	if (WIFSTOPPED(status)) {
		kill(pid, SIGCONT);
		if (waitpid(pid, &status, 0) < 0) {
			perror("waitpid");
			return T_EXIT_FAIL;
		}
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : T_EXIT_FAIL;
}
