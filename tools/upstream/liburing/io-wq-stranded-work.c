/* SPDX-License-Identifier: MIT */
/*
 * Description: A request that is submitted while the idle worker is on its way
 *		out, as the last ring was closed, is done.
 *
 * A worker that has decided to exit may still be taken for a free one. It has
 * to look at the work list once more, or nobody does the request.
 *
 * The moment is hit by force: worker and task share a CPU, the task has a
 * real-time priority, and a breakpoint wakes it as the worker unlocks its first,
 * second, ... spinlock. Needs root, and a kernel that preempts itself and has
 * /proc/kallsyms and hardware breakpoints; at random moments, the fault would be
 * found in one of thousands of tries.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

static unsigned long find_unlock(void)
{
	unsigned long addr = 0;
	char line[512];
	FILE *file;

	file = fopen("/proc/kallsyms", "r");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (strstr(line, " _raw_spin_unlock\n")) {
			addr = strtoul(line, NULL, 16);
			break;
		}
	}
	fclose(file);
	return addr;
}

/* Says POLLIN when @tid has come by @addr for the @nth time. */
static int set_trap(unsigned long addr, int tid, int nth, void **buf)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_X,
		.bp_addr = addr,
		.bp_len = sizeof(long),
		.sample_period = nth,
		.wakeup_events = 1,
		.exclude_user = 1,
	};
	int fd;

	fd = syscall(__NR_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -1;
	*buf = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*buf != MAP_FAILED)
		return fd;
	close(fd);
	return -1;
}

/* The other thread of this process, or 0. */
static int find_worker(void)
{
	struct dirent *de;
	int tid = 0;
	DIR *dir;

	dir = opendir("/proc/self/task");
	if (!dir)
		return 0;
	while ((de = readdir(dir)) != NULL)
		if (atoi(de->d_name) && atoi(de->d_name) != getpid())
			tid = atoi(de->d_name);
	closedir(dir);
	return tid;
}

/* Or gone. */
static bool asleep(int tid)
{
	char path[64], line[128] = "", *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "r");
	if (!file)
		return true;
	state = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return !state || strchr("SXZ", state[2]) != NULL;
}

static int submit_nop(struct io_uring *ring)
{
	struct io_uring_sqe *sqe;

	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	return io_uring_submit(ring) == 1 ? 0 : -1;
}

/* Done, unless nobody is awake to do it. */
static int wait_nop(struct io_uring *ring)
{
	struct __kernel_timespec ts = { .tv_sec = 1 };
	struct io_uring_cqe *cqe;
	int i, worker;

	for (i = 0; i < 10; i++) {
		if (!io_uring_wait_cqe_timeout(ring, &cqe, &ts)) {
			io_uring_cqe_seen(ring, cqe);
			return 0;
		}
		worker = find_worker();
		if (i && (!worker || asleep(worker)) && !io_uring_cq_ready(ring))
			break;
	}
	return -1;
}

static void *setup(void *ring)
{
	return io_uring_queue_init(4, ring, 0) ? ring : NULL;
}

enum { DONE, PASSED_BY, FAILED };

/* Submits as the worker of @ring, which is closed, unlocks its @nth spinlock. */
static int try(struct io_uring *ring, unsigned long unlock, int nth, int priority)
{
	struct sched_param param = { .sched_priority = priority };
	struct pollfd p = { .events = POLLIN };
	struct epoll_event event;
	struct io_uring next;
	struct timeval start;
	pthread_t thread;
	void *buf, *err;
	int epfd, worker;

	if (submit_nop(ring) || wait_nop(ring)) {
		fprintf(stderr, "a first request is not done\n");
		return FAILED;
	}
	worker = find_worker();
	gettimeofday(&start, NULL);
	while (!asleep(worker) && mtime_since_now(&start) < 5000)
		usleep(100);

	sched_setscheduler(worker, priority ? SCHED_FIFO : SCHED_OTHER, &param);
	p.fd = set_trap(unlock, worker, nth, &buf);
	if (p.fd < 0)
		return PASSED_BY;
	/* Made by another, the ring is new to this task only when it submits. */
	pthread_create(&thread, NULL, setup, &next);
	pthread_join(thread, &err);
	if (err)
		return FAILED;

	/* Interrupted by the task work that tells the worker to exit. */
	epfd = epoll_create1(EPOLL_CLOEXEC);
	io_uring_queue_exit(ring);
	epoll_wait(epfd, &event, 1, 500);
	close(epfd);
	gettimeofday(&start, NULL);
	while (!poll(&p, 1, 1) && !asleep(worker) && mtime_since_now(&start) < 5000)
		;
	if (submit_nop(&next) || wait_nop(&next)) {
		fprintf(stderr, "a request is stranded, at unlock %d of the worker\n", nth);
		return FAILED;
	}
	munmap(buf, 2 * getpagesize());
	close(p.fd);
	*ring = next;
	return p.revents & POLLIN ? DONE : PASSED_BY;
}

int main(int argc, char *argv[])
{
	struct sched_param above = { .sched_priority = 2 };
	int cpu = CPU_SETSIZE, priority, nth, ret;
	unsigned int one_worker[2] = { 1, 1 };
	struct io_uring ring;
	unsigned long unlock;
	cpu_set_t cpus;
	void *buf;

	if (argc > 1)
		return T_EXIT_SKIP;

	unlock = find_unlock();
	if (!unlock || t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	ret = set_trap(unlock, 0, 1, &buf);
	if (ret < 0 || sched_getaffinity(0, sizeof(cpus), &cpus))
		return T_EXIT_SKIP;
	close(ret);
	while (!CPU_ISSET(--cpu, &cpus))
		;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    io_uring_register_iowq_aff(&ring, sizeof(cpus), &cpus) ||
	    io_uring_register_iowq_max_workers(&ring, one_worker) ||
	    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &above))
		return T_EXIT_SKIP;

	/* The worker goes on after, and before, one that was made meanwhile. */
	for (priority = 0; priority < 2; priority++) {
		ret = DONE;
		for (nth = 1; ret == DONE; nth++)
			ret = try(&ring, unlock, nth, priority);
		if (ret == FAILED)
			return T_EXIT_FAIL;
		/* Nobody stopped it: the kernel does not preempt itself. */
		if (nth == 2)
			return T_EXIT_SKIP;
	}
	return T_EXIT_PASS;
}
