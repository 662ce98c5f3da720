// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "ring.hpp"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <system_error>

#include "work.hpp"

Uring::Uring(Uring &&other) noexcept : ring(other.ring), opened(std::exchange(other.opened, false))
{
}

Uring &Uring::operator=(Uring &&other) noexcept
{
	std::swap(ring, other.ring);
	std::swap(opened, other.opened);
	return *this;
}

int Uring::open(unsigned flags, int wq_fd)
{
	struct io_uring_params p = {};

	p.flags = flags;
	p.wq_fd = static_cast<__u32>(wq_fd);
	return open(p);
}

int Uring::open(struct io_uring_params p)
{
	/*
	 * Not io_uring_queue_init_params(): before liburing 2.5 it fills the
	 * array of a ring that has none, since 2.6 it adds flags of its own.
	 */
	const int fd = io_uring_setup(p.sq_entries ?: 64, &p);

	if (fd < 0)
		return fd;
	if (const int err = map(fd, p)) {
		::close(fd);
		return err;
	}
	opened = true;
	return 0;
}

int Uring::open_sqpoll(unsigned flags, unsigned idle_ms, int wq_fd)
{
	struct io_uring_params p = {};

	p.flags = IORING_SETUP_SQPOLL | flags;
	p.sq_thread_idle = idle_ms;
	p.wq_fd = static_cast<__u32>(wq_fd);
	if (flags & IORING_SETUP_SQ_AFF)
		p.sq_thread_cpu = static_cast<__u32>(sched_getcpu());
	return open(p);
}

int Uring::map(int fd, struct io_uring_params &p)
{
	if (const int err = io_uring_queue_mmap(fd, &p, &ring))
		return err;
	/* Before liburing 2.15 it leaves some of these at 0, or all. */
	ring.flags = p.flags;
	ring.features = p.features;
	ring.ring_fd = ring.enter_ring_fd = fd;
	if (!(p.flags & IORING_SETUP_NO_SQARRAY))
		for (unsigned i = 0; i < p.sq_entries; i++)
			ring.sq.array[i] = i;
	return 0;
}

static void unmap(const struct io_uring &ring)
{
	const size_t sqe_size = ring.flags & IORING_SETUP_SQE128 ? 128 : 64;

	munmap(ring.sq.sqes, ring.sq.ring_entries * sqe_size);
	munmap(ring.sq.ring_ptr, ring.sq.ring_sz);
}

/* Not io_uring_resize_rings(), which came with liburing 2.9. */
int Uring::resize(unsigned entries)
{
	struct io_uring_params p = {};
	const struct io_uring old = ring;

	p.sq_entries = entries;
	p.cq_entries = 2 * entries;
	p.flags = IORING_SETUP_CQSIZE;
	if (const int err = io_uring_register(static_cast<unsigned>(fd()),
					      uapi::register_resize_rings, &p, 1))
		return err;
	p.flags |= old.flags;
	p.features = old.features;
	if (const int err = map(fd(), p))
		return err;
	catch_up();
	unmap(old);
	return 0;
}

int Uring::enable()
{
	return io_uring_register(static_cast<unsigned>(fd()), IORING_REGISTER_ENABLE_RINGS, nullptr,
				 0);
}

int Uring::limit_workers(unsigned bounded, unsigned unbounded)
{
	unsigned limits[2] = { bounded, unbounded };

	return io_uring_register_iowq_max_workers(&ring, limits);
}

void Uring::close()
{
	if (!std::exchange(opened, false))
		return;
	/*
	 * Not io_uring_queue_exit(): from liburing 2.5 to 2.8 it leaves half of
	 * an array of 128-byte SQEs mapped, which holds the ring.
	 */
	unmap(ring);
	/* This flag says that the ring is registered; liburing 2.3 does not look for it. */
	if (ring.int_flags)
		io_uring_unregister_ring_fd(&ring);
	::close(fd());
}

RingEnd Uring::end()
{
	PipeEnds pipe;
	int err = pipe.open();

	if (!err) {
		const int files[] = { pipe.wr.get(), -1 };

		err = io_uring_register_files(&ring, files, 2);
	}
	if (err)
		throw std::system_error(-err, std::generic_category(), "IORING_REGISTER_FILES");
	return RingEnd(std::move(pipe.rd));
}

int Uring::wait(struct io_uring_cqe **cqe, const Deadline &deadline)
{
	for (;;) {
		const int ms = deadline.poll_ms();
		struct __kernel_timespec ts = { .tv_sec = ms / 1000,
						.tv_nsec = ms % 1000 * 1'000'000L };
		const int err = io_uring_wait_cqe_timeout(&ring, cqe, &ts);
		/* To be asked even if a completion came, as a pause may have caused it. */
		const bool over = deadline.over();

		if ((err != -EINTR && err != -ETIME) || over)
			return err;
	}
}

unsigned Uring::await_ready(unsigned nr, milliseconds limit) const
{
	const Deadline deadline(limit);

	while (io_uring_cq_ready(&ring) < nr && !deadline.over())
		deadline.back_off();
	return io_uring_cq_ready(&ring);
}

int Uring::reap(unsigned nr, int want)
{
	const Deadline deadline(limit::event);

	while (nr--) {
		struct io_uring_cqe *cqe;

		if (const int err = wait(&cqe, deadline))
			return err;

		const int res = Work::result(cqe);

		io_uring_cqe_seen(&ring, cqe);
		if (res != want)
			return res;
	}
	return 0;
}

int Uring::discard(unsigned nr)
{
	const Deadline deadline(limit::event);

	while (nr--) {
		struct io_uring_cqe *cqe;

		if (const int err = wait(&cqe, deadline))
			return err;
		io_uring_cqe_seen(&ring, cqe);
	}
	return 0;
}

TakenCqe Uring::take()
{
	struct io_uring_cqe *cqe;

	if (const int err = wait(&cqe, Deadline(limit::event)))
		return { .result = err, .flags = 0 };

	const TakenCqe taken = { .result = cqe->res, .flags = cqe->flags };

	io_uring_cqe_seen(&ring, cqe);
	return taken;
}

int Uring::result_of(__u64 user_data)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&ring, head, cqe)
	{
		if (cqe->user_data == user_data)
			return cqe->res;
	}
	return -EINPROGRESS;
}
