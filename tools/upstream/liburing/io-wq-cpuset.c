/* SPDX-License-Identifier: MIT */
/*
 * Description: An io-wq worker that is made after its task was moved to a cpuset
 *		may run on the CPUs of that cpuset only.
 *
 * A pool has a mask of CPUs for its workers. Workers that exist are moved with
 * their task; those made later must not get the mask of the pool's first days,
 * which since idle workers exit is met by all who move a task between rings.
 *
 * Needs root, a cgroup with the cpuset controller, and two CPUs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define MOUNT	"/sys/fs"

static char group[64];

static int put(const char *dir, const char *name, const char *text)
{
	char path[128];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret < 0 ? -1 : 0;
}

/* Whether the controller is ours to take away again. */
static bool enabled;

/* In a mount namespace of our own. */
static int make_cgroup(void)
{
	char line[256] = "0";
	FILE *file;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	snprintf(group, sizeof(group), MOUNT "/io-wq-cpuset.%d", getpid());
	if (!mount("none", MOUNT, "cgroup", 0, "cpuset")) {
		/* The first version wants the nodes of memory, too. */
		file = fopen(MOUNT "/cpuset.mems", "r");
		if (!file || !fgets(line, sizeof(line), file))
			return -1;
		fclose(file);
		return mkdir(group, 0700) || put(group, "cpuset.mems", line) ? -1 : 0;
	}

	if (mount("none", MOUNT, "cgroup2", 0, NULL))
		return -1;
	file = fopen(MOUNT "/cgroup.subtree_control", "r");
	if (!file)
		return -1;
	if (!fgets(line, sizeof(line), file) || !strstr(line, "cpuset"))
		enabled = !put(MOUNT, "cgroup.subtree_control", "+cpuset");
	fclose(file);
	return mkdir(group, 0700);
}

static int remove_cgroup(void)
{
	if (rmdir(group)) {
		perror("rmdir");
		return T_EXIT_FAIL;
	}
	if (enabled)
		put(MOUNT, "cgroup.subtree_control", "-cpuset");
	return T_EXIT_PASS;
}

/* Has a worker do a request; its TID, or 0. */
static int worker(struct io_uring *ring)
{
	struct __kernel_timespec ts = { .tv_sec = 10 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct dirent *de;
	int tid = 0;
	DIR *dir;

	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	if (io_uring_submit(ring) != 1 || io_uring_wait_cqe_timeout(ring, &cqe, &ts))
		return 0;
	io_uring_cqe_seen(ring, cqe);

	dir = opendir("/proc/self/task");
	if (!dir)
		return 0;
	while ((de = readdir(dir)) != NULL)
		if (atoi(de->d_name) && atoi(de->d_name) != getpid())
			tid = atoi(de->d_name);
	closedir(dir);
	return tid;
}

static int test(void)
{
	struct io_uring ring;
	struct timeval start;
	cpu_set_t cpus;
	char text[16];
	int cpu, tid;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) < 2)
		return T_EXIT_SKIP;
	for (cpu = 0; !CPU_ISSET(cpu, &cpus); cpu++)
		;
	snprintf(text, sizeof(text), "%d", cpu);
	if (put(group, "cpuset.cpus", text))
		return T_EXIT_SKIP;

	if (t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	tid = worker(&ring);
	if (!tid) {
		fprintf(stderr, "no worker came\n");
		return T_EXIT_FAIL;
	}
	io_uring_queue_exit(&ring);
	gettimeofday(&start, NULL);
	while (!syscall(__NR_tgkill, getpid(), tid, 0)) {
		/* On a kernel whose idle workers stay, there is none made later. */
		if (mtime_since_now(&start) > 2000)
			return T_EXIT_SKIP;
		usleep(1000);
	}

	if (put(group, "cgroup.procs", "0"))
		return T_EXIT_SKIP;
	if (t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	tid = worker(&ring);
	if (!tid || sched_getaffinity(tid, sizeof(cpus), &cpus)) {
		fprintf(stderr, "no worker came\n");
		return T_EXIT_FAIL;
	}
	if (CPU_COUNT(&cpus) != 1 || !CPU_ISSET(cpu, &cpus)) {
		fprintf(stderr, "a worker may run on %d CPUs, and the cpuset has one\n",
			CPU_COUNT(&cpus));
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}

int main(int argc, char *argv[])
{
	int status, ret = T_EXIT_SKIP;
	pid_t pid;

	if (argc > 1 || geteuid() || make_cgroup())
		return T_EXIT_SKIP;

	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(test());
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid)
		ret = WIFEXITED(status) ? WEXITSTATUS(status) : T_EXIT_FAIL;
	if (remove_cgroup())
		ret = T_EXIT_FAIL;
	return ret;
}
