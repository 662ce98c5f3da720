// SPDX-License-Identifier: GPL-2.0
/*
 * liburing from 2.5 to 2.14, as far as rings are set up and torn down: linked with
 * --wrap, on top of any other.  Its io_uring_queue_exit() is that of 2.5 to 2.8.
 */
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

int __real_io_uring_queue_mmap(int fd, struct io_uring_params *p, struct io_uring *ring);

int __wrap_io_uring_queue_mmap(int fd, struct io_uring_params *p, struct io_uring *ring)
{
	int ret = __real_io_uring_queue_mmap(fd, p, ring);

	ring->flags = ring->features = 0;
	ring->ring_fd = ring->enter_ring_fd = 0;
	return ret;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
	/* Half of them, where each has 128 bytes. */
	munmap(ring->sq.sqes, ring->sq.ring_entries * sizeof(struct io_uring_sqe));
	munmap(ring->sq.ring_ptr, ring->sq.ring_sz);
	io_uring_unregister_ring_fd(ring);
	close(ring->ring_fd);
}
