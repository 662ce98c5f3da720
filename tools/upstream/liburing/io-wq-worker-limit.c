/* SPDX-License-Identifier: MIT */
/*
 * Description: There are no more io-wq workers than was set, after one exited
 *		that had asked for another which its task could not make yet.
 *
 * The request for another is taken back as the worker exits. The count of
 * workers must not be lowered with it, as none was added. The task waits in
 * vfork(2) meanwhile; the worker exits 5 s after its last request.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

#define LIMIT		2
#define NR_LATER	6

/* Two that block, and two that are queued behind; then more than may be done at once. */
enum { FIRST, SECOND, NEXT, LAST, NR_EARLY, LATER = NR_EARLY, NR_GATES };

struct gate {
	char fifo[64];
	int fd;
};

static struct gate gates[NR_GATES];
static struct io_uring ring;
static sem_t done, go;
static int vfork_go[2];
static int submitted;

/* A path whose opening for reading blocks until somebody opens it for writing. */
static int make_fifo(char *path, size_t len)
{
	static const char *dirs[] = { ".", "/tmp", "/dev/shm" };
	char name[64];
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(name, sizeof(name), "%s/.io-wq-worker-limit.%d", dirs[i], getpid());
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

static void submit(struct gate *gate, int nr)
{
	struct io_uring_sqe *sqe;
	int ret;

	while (nr--) {
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_openat(sqe, AT_FDCWD, gate->fifo, O_RDONLY, 0);
		sqe->flags |= IOSQE_ASYNC;
		ret = io_uring_submit(&ring);
		if (ret == 1)
			submitted++;
	}
}

/* The task whose workers are counted. */
static void *owner(void *data)
{
	char byte;
	pid_t pid;
	int i;

	for (i = 0; i < NR_EARLY; i++)
		submit(&gates[i], 1);
	sem_post(&done);

	sem_wait(&go);
	pid = vfork();
	if (!pid) {
		if (read(vfork_go[0], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	submit(&gates[LATER], NR_LATER);
	sem_post(&done);

	sem_wait(&go);
	return NULL;
}

/* Lets the requests at @gate go on, and waits for their results. */
static int release(struct gate *gate, int nr)
{
	struct __kernel_timespec ts = { .tv_sec = 10 };
	struct io_uring_cqe *cqe;
	int ret;

	gate->fd = open(gate->fifo, O_RDWR);
	while (nr--) {
		ret = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
		if (ret || cqe->res < 0) {
			fprintf(stderr, "wait cqe: %d, res: %d\n", ret, ret ? 0 : cqe->res);
			return -1;
		}
		close(cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
	return 0;
}

/* The most threads, beyond @others, in @ms or until there are @nr. */
static int most_workers(int others, int nr, int ms)
{
	struct timeval start;
	int most = 0, now;

	gettimeofday(&start, NULL);
	do {
		now = nr_threads() - others;
		if (now > most)
			most = now;
		usleep(1000);
	} while (most < nr && mtime_since_now(&start) < ms);
	return most;
}

int main(int argc, char *argv[])
{
	unsigned int limits[2] = { LIMIT, LIMIT };
	struct timeval start;
	pthread_t thread;
	int others, i, nr;

	if (argc > 1)
		return T_EXIT_SKIP;

	if (t_create_ring(16, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	if (io_uring_register_iowq_max_workers(&ring, limits) || pipe(vfork_go) < 0)
		return T_EXIT_SKIP;
	for (i = 0; i < NR_GATES; i++)
		if (make_fifo(gates[i].fifo, sizeof(gates[i].fifo)))
			return T_EXIT_SKIP;
	sem_init(&done, 0, 0);
	sem_init(&go, 0, 0);
	others = nr_threads() + 1;
	pthread_create(&thread, NULL, owner, NULL);
	sem_wait(&done);
	if (submitted != NR_EARLY || most_workers(others, LIMIT, 5000) != LIMIT) {
		fprintf(stderr, "no workers came\n");
		return T_EXIT_FAIL;
	}

	/* The first worker turns to the next request, and blocks with the last one queued. */
	sem_post(&go);
	usleep(100000);
	if (release(&gates[FIRST], 1))
		return T_EXIT_FAIL;
	usleep(100000);
	if (release(&gates[NEXT], 1) || release(&gates[LAST], 1))
		return T_EXIT_FAIL;

	/* Beside one that is busy it may exit; on a kernel that is mended, it stays. */
	gettimeofday(&start, NULL);
	while (nr_threads() - others > 1 && mtime_since_now(&start) < 8000)
		usleep(10000);
	if (release(&gates[SECOND], 1))
		return T_EXIT_FAIL;

	if (write(vfork_go[1], "x", 1) != 1) {
		perror("write");
		return T_EXIT_FAIL;
	}
	sem_wait(&done);
	nr = most_workers(others, LIMIT + 1, 1000);
	if (release(&gates[LATER], NR_LATER))
		return T_EXIT_FAIL;
	sem_post(&go);
	pthread_join(thread, NULL);
	io_uring_queue_exit(&ring);
	if (nr > LIMIT) {
		fprintf(stderr, "%d workers came, and %d are the limit\n", nr, LIMIT);
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}
