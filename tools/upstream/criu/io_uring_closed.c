// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtmtst.h"

#ifdef ZDTM_IO_URING_SQPOLL
const char *test_doc = "Check that a process is dumped which used io_uring with SQPOLL, and closed it";
#define SETUP_FLAGS IORING_SETUP_SQPOLL
#elif defined(ZDTM_IO_URING_OPEN)
const char *test_doc = "Check that a process with an open io_uring is refused";
#define SETUP_FLAGS 0
#else
const char *test_doc = "Check that a process is dumped which used io_uring, and closed it";
#define SETUP_FLAGS 0
#endif
const char *test_author = "the authors of the io_uring selftest";

/* Has an io-wq worker do a request.  The ring, or -1. */
static int use_ring(void)
{
	struct io_uring_params p = { .flags = SETUP_FLAGS, .sq_thread_idle = 1 };
	struct io_uring_sqe *sqes;
	unsigned *tail, *array;
	size_t size;
	char *rings;
	int fd, ret;

	fd = syscall(__NR_io_uring_setup, 1, &p);
	if (fd < 0) {
		pr_perror("io_uring_setup");
		return -1;
	}
	size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    IORING_OFF_SQES);
	if (rings == MAP_FAILED || sqes == MAP_FAILED) {
		pr_perror("mmap");
		return -1;
	}
	memset(sqes, 0, sizeof(*sqes));
	sqes->opcode = IORING_OP_NOP;
	sqes->flags = IOSQE_ASYNC;
	array = (unsigned *)(rings + p.sq_off.array);
	tail = (unsigned *)(rings + p.sq_off.tail);
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ret = syscall(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP,
		      NULL, 0);
	if (ret < 0) {
		pr_perror("io_uring_enter");
		return -1;
	}
	munmap(sqes, p.sq_entries * sizeof(*sqes));
	munmap(rings, size);
	return fd;
}

static int nr_threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) ? -1 : (int)st.st_nlink - 2;
}

/* Idle workers leave with the last ring since v7.0, 6.19.1 and 6.18.11. */
static int close_ring(int fd)
{
	int i;

	close(fd);
	for (i = 0; nr_threads() != 1; i++) {
		if (i == 5000) {
			pr_err("a worker is left\n");
			return -1;
		}
		usleep(1000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int fd, first;

	test_init(argc, argv);

	first = use_ring();
	if (first < 0)
		return 1;
#ifndef ZDTM_IO_URING_OPEN
	if (close_ring(first))
		return 1;
	first = -1;
#endif

	test_daemon();
	test_waitsig();

	fd = use_ring();
	close(first);
	if (fd < 0 || close_ring(fd)) {
		fail("io_uring cannot be used any more");
		return 1;
	}
	pass();
	return 0;
}
