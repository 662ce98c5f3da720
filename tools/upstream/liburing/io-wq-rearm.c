/* SPDX-License-Identifier: MIT */
/*
 * Description: A task that closed its last ring and opens another one has an
 *		io-wq worker again, and keeps it while that ring is open.
 *
 * Idle workers exit with the last ring of their task. The next use of io_uring
 * has to take that back, else each request gets a worker of its own.
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

/* The number of workers of this process, and the TID of one of them. */
static int count_workers(int *tid)
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
		    !strncmp(comm, WORKER_COMM, strlen(WORKER_COMM))) {
			*tid = atoi(de->d_name);
			nr++;
		}
		fclose(file);
	}
	closedir(dir);
	return nr;
}

static bool worker_exists(int tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
	return !access(path, F_OK);
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
	int nr, tid;

	gettimeofday(&start, NULL);
	do {
		nr = count_workers(&tid);
		if (nr < 0)
			return T_EXIT_SKIP;
		if (!nr)
			return T_EXIT_PASS;
		usleep(1000);
	} while (mtime_since_now(&start) < 2000);

	if (!kernel_promises_exit())
		return T_EXIT_SKIP;
	fprintf(stderr, "%d workers are left after the last ring\n", nr);
	return T_EXIT_FAIL;
}

/* Has a worker do a request, and returns the result. */
static int async_nop(struct io_uring *ring)
{
	struct __kernel_timespec ts = { .tv_sec = 10 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int ret;

	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	ret = io_uring_submit(ring);
	if (ret != 1) {
		fprintf(stderr, "submit: %d\n", ret);
		return ret < 0 ? ret : -EIO;
	}
	ret = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	if (ret) {
		fprintf(stderr, "wait cqe: %d\n", ret);
		return ret;
	}
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

static int test_rearm(void)
{
	struct io_uring ring;
	struct timeval start;
	int ret, tid = 0, i;

	ret = io_uring_queue_init(4, &ring, 0);
	if (ret) {
		fprintf(stderr, "queue_init: %d\n", ret);
		return T_EXIT_FAIL;
	}
	if (async_nop(&ring))
		return T_EXIT_FAIL;
	if (count_workers(&tid) < 1) {
		fprintf(stderr, "no worker came\n");
		return T_EXIT_FAIL;
	}

	for (i = 0; i < 64; i++)
		if (async_nop(&ring))
			return T_EXIT_FAIL;

	/* A pool that is not armed again loses it at once. */
	gettimeofday(&start, NULL);
	do {
		if (!worker_exists(tid)) {
			fprintf(stderr, "the worker exited, though a ring is open\n");
			return T_EXIT_FAIL;
		}
		usleep(1000);
	} while (mtime_since_now(&start) < 100);

	io_uring_queue_exit(&ring);
	return wait_for_no_worker();
}

int main(int argc, char *argv[])
{
	struct io_uring ring;
	int ret, i;

	if (argc > 1)
		return T_EXIT_SKIP;

	if (t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	if (async_nop(&ring))
		return T_EXIT_FAIL;
	io_uring_queue_exit(&ring);
	ret = wait_for_no_worker();

	for (i = 0; i < 3 && ret == T_EXIT_PASS; i++)
		ret = test_rearm();
	return ret;
}
