// SPDX-License-Identifier: GPL-2.0

#include "ring.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>

int Pipe::open()
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	rd = Fd(fds[0]);
	wr = Fd(fds[1]);
	return 0;
}

bool RingEnd::await() const
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = rd.get(), .events = 0, .revents = 0 };

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return p.revents & POLLHUP;
	return false;
}

Ring::Ring(Ring &&other) noexcept : ring(other.ring), opened(std::exchange(other.opened, false)) {}

Ring &Ring::operator=(Ring &&other) noexcept
{
	std::swap(ring, other.ring);
	std::swap(opened, other.opened);
	return *this;
}

int Ring::open(unsigned flags, int wq_fd)
{
	struct io_uring_params p = {};

	p.flags = flags;
	p.wq_fd = static_cast<__u32>(wq_fd);

	/*
	 * Not io_uring_queue_init_params(): before liburing 2.5 it fills the
	 * array of a ring that has none, since 2.6 it adds flags of its own.
	 */
	const int fd = io_uring_setup(64, &p);

	if (fd < 0)
		return fd;
	if (const int err = io_uring_queue_mmap(fd, &p, &ring)) {
		::close(fd);
		return err;
	}
	ring.features = p.features;
	if (!(flags & IORING_SETUP_NO_SQARRAY))
		for (unsigned i = 0; i < p.sq_entries; i++)
			ring.sq.array[i] = i;
	opened = true;
	return 0;
}

int Ring::enable()
{
	return io_uring_register(static_cast<unsigned>(fd()), IORING_REGISTER_ENABLE_RINGS, nullptr,
				 0);
}

void Ring::close()
{
	if (std::exchange(opened, false))
		io_uring_queue_exit(&ring);
}

RingEnd Ring::end()
{
	Pipe pipe;

	if (pipe.open() == 0) {
		const int wr = pipe.wr.get();

		if (io_uring_register_files(&ring, &wr, 1) == 0)
			return RingEnd(std::move(pipe.rd));
	}
	return RingEnd(Fd());
}

/* What a request of class Work returns, as its user_data. */
enum class Result : __u64 { other, file, byte };

/* 0 for work that was done, whatever it returns; the file it opened is closed. */
static int plain_result(const struct io_uring_cqe *cqe)
{
	const auto result = static_cast<Result>(cqe->user_data);

	if (result == Result::file && cqe->res >= 0)
		return close(cqe->res) ? -errno : 0;
	return result == Result::byte && cqe->res == 1 ? 0 : cqe->res;
}

int Ring::reap(unsigned nr, int want)
{
	const Deadline deadline(limit::event);

	while (nr) {
		const int ms = deadline.poll_ms();
		struct __kernel_timespec ts = { .tv_sec = ms / 1000,
						.tv_nsec = ms % 1000 * 1'000'000L };
		struct io_uring_cqe *cqe;
		const int err = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);

		if (err == -EINTR && !deadline.over())
			continue;
		if (err)
			return err;

		const int res = plain_result(cqe);

		io_uring_cqe_seen(&ring, cqe);
		if (res != want)
			return res;
		nr--;
	}
	return 0;
}

/* The read end of a FIFO that has no name any more, for O_PATH only; or -errno. */
static int open_fifo()
{
	int err = -ENOENT;

	for (const char *dir : { "/dev/shm", "/tmp", "/var/tmp", "." }) {
		const std::string path =
			std::string(dir) + "/io_uring_test." + std::to_string(getpid());

		if (mkfifo(path.c_str(), 0600)) {
			err = -errno;
			continue;
		}
		const int fd = open(path.c_str(), O_PATH | O_CLOEXEC);

		unlink(path.c_str());
		return fd;
	}
	return err;
}

void Work::prepare(struct io_uring_sqe *sqe)
{
	if (kind == Class::bounded)
		io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY | O_CLOEXEC, 0);
	else
		io_uring_prep_splice(sqe, gate.rd.get(), -1, sink.get(), -1, 1, 0);
	if (kind != Class::hashed)
		sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = static_cast<__u64>(kind == Class::bounded ? Result::file : Result::byte);
}

int Work::submit(Ring &ring)
{
	if (kind == Class::bounded) {
		gate.rd = Fd(open_fifo());
		snprintf(fifo, sizeof(fifo), "/proc/self/fd/%d", gate.rd.get());
	} else {
		if (const int err = gate.open())
			return err;
		sink = Fd(kind == Class::hashed ? memfd_create("sink", MFD_CLOEXEC)
						: open("/dev/null", O_WRONLY | O_CLOEXEC));
		if (!sink)
			return -errno;
	}
	if (!gate.rd)
		return gate.rd.get();

	for (unsigned i = 0; i < nr; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		if (!sqe)
			return -EBUSY;
		prepare(sqe);
	}

	const int submitted = io_uring_submit(ring.get());

	if (submitted < 0)
		return submitted;
	return static_cast<unsigned>(submitted) == nr ? 0 : -EIO;
}

int Work::release()
{
	/* A writer that does not wait for readers, even those yet to come. */
	if (kind == Class::bounded) {
		gate.wr = Fd(open(fifo, O_RDWR | O_CLOEXEC));
		return gate.wr ? 0 : -errno;
	}

	const std::vector<char> bytes(nr);
	const ssize_t written = write(gate.wr.get(), bytes.data(), nr);

	if (written < 0)
		return -errno;
	return static_cast<size_t>(written) == nr ? 0 : -EIO;
}

int serve(Ring &ring, Class c, unsigned nr)
{
	Work work(c, nr);

	if (const int err = work.submit(ring))
		return err;
	if (const int err = work.release())
		return err;
	return ring.reap(nr);
}
