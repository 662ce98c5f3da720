/* SPDX-License-Identifier: MIT */
/*
 * Description: io-wq workers stay until the last ring of their task is closed,
 *		whatever becomes of its other rings, and of other threads' rings.
 *
 * The pool is the task's, not the ring's.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define NR_RINGS	3

#define WORKER_COMM	"iou-wrk-"

/* The number of workers of this process, and the TID of one that is not @other. */
static int count_workers(int *tid, int other)
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
			if (atoi(de->d_name) != other)
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
	if (ret == 1)
		ret = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	if (ret) {
		fprintf(stderr, "a request is not done: %d\n", ret);
		return -EIO;
	}
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

static int wait_for_exit(int tid)
{
	struct timeval start;

	gettimeofday(&start, NULL);
	do {
		if (!worker_exists(tid))
			return T_EXIT_PASS;
		usleep(1000);
	} while (mtime_since_now(&start) < 2000);

	if (!kernel_promises_exit())
		return T_EXIT_SKIP;
	fprintf(stderr, "a worker is left after the last ring\n");
	return T_EXIT_FAIL;
}

/*
 * Closes a ring, and waits until it is freed: it holds the other end of a pipe.
 * By then the kernel has decided about the workers.
 */
static int close_ring(struct io_uring *ring)
{
	struct pollfd p = { .events = 0 };
	int fds[2], ret;

	if (pipe(fds) < 0 || io_uring_register_files(ring, &fds[1], 1)) {
		fprintf(stderr, "no ring can hold a pipe\n");
		return T_EXIT_FAIL;
	}
	close(fds[1]);
	io_uring_queue_exit(ring);
	p.fd = fds[0];
	while ((ret = poll(&p, 1, 10000)) < 0 && errno == EINTR)
		;
	close(fds[0]);
	if (ret != 1) {
		fprintf(stderr, "a closed ring was not freed\n");
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}

static int still_serves(struct io_uring *ring, int tid)
{
	if (async_nop(ring))
		return T_EXIT_FAIL;
	/* Time enough for one that was told to exit. */
	usleep(20000);
	if (!worker_exists(tid)) {
		fprintf(stderr, "a worker exited, though its task has a ring\n");
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}

static int test_rings(void)
{
	struct io_uring rings[NR_RINGS];
	int i, tid = 0;

	for (i = 0; i < NR_RINGS; i++)
		if (t_create_ring(4, &rings[i], 0) != T_SETUP_OK)
			return T_EXIT_SKIP;
	if (async_nop(&rings[0]) || count_workers(&tid, 0) < 1) {
		fprintf(stderr, "no worker came\n");
		return T_EXIT_FAIL;
	}
	for (i = 0; i + 1 < NR_RINGS; i++)
		if (close_ring(&rings[i]) || still_serves(&rings[NR_RINGS - 1], tid))
			return T_EXIT_FAIL;
	io_uring_queue_exit(&rings[i]);
	return wait_for_exit(tid);
}

static pthread_barrier_t step;

static void *other_thread(void *data)
{
	struct io_uring ring;
	int *result = data;

	*result = T_EXIT_FAIL;
	if (io_uring_queue_init(4, &ring, 0) == 0 && async_nop(&ring) == 0)
		*result = T_EXIT_PASS;
	pthread_barrier_wait(&step);

	/* The main thread closes its ring. */
	pthread_barrier_wait(&step);
	if (*result == T_EXIT_PASS)
		*result = async_nop(&ring) ? T_EXIT_FAIL : T_EXIT_PASS;
	pthread_barrier_wait(&step);

	/* And has seen that our worker is there. */
	pthread_barrier_wait(&step);
	io_uring_queue_exit(&ring);
	pthread_barrier_wait(&step);
	return NULL;
}

static int test_threads(void)
{
	int ours = 0, theirs = 0, result, ret;
	struct io_uring ring;
	pthread_t thread;

	ret = io_uring_queue_init(4, &ring, 0);
	if (ret || async_nop(&ring) || count_workers(&ours, 0) != 1) {
		fprintf(stderr, "the main thread has no worker\n");
		return T_EXIT_FAIL;
	}
	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&thread, NULL, other_thread, &result);
	pthread_barrier_wait(&step);
	if (result || count_workers(&theirs, ours) != 2) {
		fprintf(stderr, "the other thread has no worker of its own\n");
		return T_EXIT_FAIL;
	}

	io_uring_queue_exit(&ring);
	ret = wait_for_exit(ours);
	if (ret)
		return ret;
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	if (result || !worker_exists(theirs)) {
		fprintf(stderr, "a worker exited with another thread's ring\n");
		return T_EXIT_FAIL;
	}

	/* While the thread lives: its end would end its pool. */
	pthread_barrier_wait(&step);
	ret = wait_for_exit(theirs);
	pthread_barrier_wait(&step);
	pthread_join(thread, NULL);
	return ret;
}

int main(int argc, char *argv[])
{
	int ret;

	if (argc > 1)
		return T_EXIT_SKIP;
	ret = test_rings();
	if (ret == T_EXIT_PASS)
		ret = test_threads();
	return ret;
}
