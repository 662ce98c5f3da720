/* SPDX-License-Identifier: MIT */
/*
 * Description: Both a bounded and an unbounded io-wq worker exit when their task
 *		closes its last ring.
 *
 * They are of two lists, and each has to be told.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define WORKER_COMM	"iou-wrk-"

/* The number of workers of this process. */
static int count_workers(void)
{
	struct dirent *de;
	int nr = 0;
	DIR *dir;

	dir = opendir("/proc/self/task");
	if (!dir)
		return -errno;
	while ((de = readdir(dir)) != NULL) {
		char path[PATH_MAX], comm[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", de->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(comm, sizeof(comm), file) &&
		    !strncmp(comm, WORKER_COMM, strlen(WORKER_COMM)))
			nr++;
		fclose(file);
	}
	closedir(dir);
	return nr;
}

/* Since v7.0 (stable: 6.18.11 and 6.19.1), and wherever it was backported. */
static bool kernel_promises_exit(void)
{
	bool found = false;
	char line[512];
	FILE *file;

	file = fopen("/proc/kallsyms", "r");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " io_wq_set_exit_on_idle\n") != NULL;
	fclose(file);
	return found;
}

static int wait_for_no_worker(void)
{
	struct timeval start;
	int nr;

	gettimeofday(&start, NULL);
	do {
		nr = count_workers();
		if (nr < 0)
			return T_EXIT_SKIP;
		if (!nr)
			return T_EXIT_PASS;
		usleep(1000);
	} while (mtime_since_now(&start) < 2000);

	if (!kernel_promises_exit())
		return T_EXIT_SKIP;
	fprintf(stderr, "%d of two workers are left after the last ring\n", nr);
	return T_EXIT_FAIL;
}

int main(int argc, char *argv[])
{
	struct __kernel_timespec ts = { .tv_sec = 10 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int fds[2], ret, i;
	char byte = 0;

	if (argc > 1)
		return T_EXIT_SKIP;

	if (t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	if (pipe(fds) < 0 || write(fds[1], &byte, 1) != 1) {
		perror("pipe");
		return T_EXIT_FAIL;
	}

	/* A request without a file is bounded, one on a pipe is not. */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, fds[0], &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	ret = io_uring_submit(&ring);
	if (ret != 2) {
		fprintf(stderr, "submit: %d\n", ret);
		return T_EXIT_FAIL;
	}
	for (i = 0; i < 2; i++) {
		ret = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
		if (ret || cqe->res < 0) {
			fprintf(stderr, "wait cqe: %d, res: %d\n", ret, ret ? 0 : cqe->res);
			return T_EXIT_FAIL;
		}
		io_uring_cqe_seen(&ring, cqe);
	}

	ret = count_workers();
	if (ret != 2) {
		fprintf(stderr, "%d workers came for two classes of work\n", ret);
		return T_EXIT_FAIL;
	}
	io_uring_queue_exit(&ring);
	return wait_for_no_worker();
}
