/* SPDX-License-Identifier: MIT */
/*
 * Description: A thread exits at once, though more bounded requests are queued
 *		or linked behind the one that its io-wq worker is blocked in.
 *
 * A worker gets one signal as its pool ends. It must not use that up and block
 * again in the next request, as the thread waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define NR_REQUESTS	4
#define LIMIT_MS	5000

struct task {
	const char *fifo;
	unsigned int flags;
	int ret;
	int tid;
};

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-exit-queued.%d", dirs[i], getpid());
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

static bool worker_blocks(int others)
{
	struct timeval start;

	gettimeofday(&start, NULL);
	do {
		if (nr_threads() > others) {
			/* No event tells when it sleeps in open(2). */
			usleep(50000);
			return true;
		}
		usleep(1000);
	} while (mtime_since_now(&start) < LIMIT_MS);
	return false;
}

static void *run_task(void *data)
{
	unsigned int one_worker[2] = { 1, 1 };
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	struct task *task = data;
	int i, ret, others;

	task->ret = T_EXIT_SKIP;
	__atomic_store_n(&task->tid, (int) syscall(__NR_gettid), __ATOMIC_RELAXED);
	if (t_create_ring(8, &ring, 0) != T_SETUP_OK)
		return NULL;
	if (io_uring_register_iowq_max_workers(&ring, one_worker))
		return NULL;
	others = nr_threads();
	for (i = 0; i < NR_REQUESTS; i++) {
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_openat(sqe, AT_FDCWD, task->fifo, O_RDONLY, 0);
		sqe->flags |= IOSQE_ASYNC;
		if (i + 1 < NR_REQUESTS)
			sqe->flags |= task->flags;
	}
	ret = io_uring_submit(&ring);
	task->ret = T_EXIT_FAIL;
	if (ret != NR_REQUESTS)
		fprintf(stderr, "submit: %d\n", ret);
	else if (!worker_blocks(others))
		fprintf(stderr, "no worker came\n");
	else
		task->ret = T_EXIT_PASS;
	return NULL;
}

static int test(unsigned int flags, const char *what)
{
	struct task task = { .flags = flags };
	struct timeval start;
	pthread_t thread;
	char fifo[64], path[64];
	int gate = -1;

	if (make_fifo(fifo, sizeof(fifo)))
		return T_EXIT_SKIP;
	task.fifo = fifo;
	pthread_create(&thread, NULL, run_task, &task);
	while (!__atomic_load_n(&task.tid, __ATOMIC_RELAXED))
		usleep(1000);
	snprintf(path, sizeof(path), "/proc/self/task/%d", task.tid);

	/* Twice: until the worker has come, and from then on. */
	gettimeofday(&start, NULL);
	while (!access(path, F_OK)) {
		if (mtime_since_now(&start) > 2 * LIMIT_MS) {
			fprintf(stderr, "a thread does not exit, with requests %s\n", what);
			/* So that it does. */
			gate = open(fifo, O_RDWR);
			break;
		}
		usleep(1000);
	}
	pthread_join(thread, NULL);
	if (gate < 0)
		return task.ret;
	close(gate);
	return T_EXIT_FAIL;
}

int main(int argc, char *argv[])
{
	int ret;

	if (argc > 1)
		return T_EXIT_SKIP;

	ret = test(0, "queued");
	if (ret == T_EXIT_PASS)
		ret = test(IOSQE_IO_HARDLINK, "linked");
	return ret;
}
