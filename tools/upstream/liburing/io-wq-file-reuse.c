/* SPDX-License-Identifier: MIT */
/*
 * Description: A request that is queued in io-wq is done on the file that its
 *		descriptor was at submission, whatever becomes of the number.
 *
 * Programs close a descriptor, and have its number again for another file,
 * while earlier requests wait for a worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "liburing.h"
#include "helpers.h"

/* The read end of a pipe, with one byte in it. */
static int pipe_with(char byte)
{
	int fds[2];

	if (pipe(fds) < 0 || write(fds[1], &byte, 1) != 1)
		return -1;
	close(fds[1]);
	return fds[0];
}

int main(int argc, char *argv[])
{
	unsigned int one_worker[2] = { 1, 1 };
	struct __kernel_timespec ts = { .tv_sec = 10 };
	int gate[2], fd, other, null, ret, i;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	char byte = 0;

	if (argc > 1)
		return T_EXIT_SKIP;

	if (t_create_ring(4, &ring, 0) != T_SETUP_OK)
		return T_EXIT_SKIP;
	if (io_uring_register_iowq_max_workers(&ring, one_worker))
		return T_EXIT_SKIP;
	null = open("/dev/null", O_WRONLY);
	if (null < 0 || pipe(gate) < 0)
		return T_EXIT_SKIP;
	fd = pipe_with('a');
	other = pipe_with('b');
	if (fd < 0 || other < 0) {
		perror("pipe");
		return T_EXIT_FAIL;
	}

	/* The one worker blocks in this, and the read is queued behind. */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_splice(sqe, gate[0], -1, null, -1, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, fd, &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	ret = io_uring_submit(&ring);
	if (ret != 2) {
		fprintf(stderr, "submit: %d\n", ret);
		return T_EXIT_FAIL;
	}

	/* The number is another file's now. */
	if (dup2(other, fd) != fd) {
		perror("dup2");
		return T_EXIT_FAIL;
	}
	if (write(gate[1], "x", 1) != 1) {
		perror("write");
		return T_EXIT_FAIL;
	}
	for (i = 0; i < 2; i++) {
		ret = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
		if (ret) {
			fprintf(stderr, "wait cqe: %d\n", ret);
			return T_EXIT_FAIL;
		}
		if (cqe->res != 1) {
			fprintf(stderr, "res: %d\n", cqe->res);
			return T_EXIT_FAIL;
		}
		io_uring_cqe_seen(&ring, cqe);
	}
	io_uring_queue_exit(&ring);

	if (byte != 'a') {
		fprintf(stderr, "read '%c', of a file that came after submission\n", byte);
		return T_EXIT_FAIL;
	}
	return T_EXIT_PASS;
}
