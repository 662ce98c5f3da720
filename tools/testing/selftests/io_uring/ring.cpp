// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "ring.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <system_error>

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
	const int fd = io_uring_setup(64, &p);

	if (fd < 0)
		return fd;
	if (const int err = map(fd, p)) {
		::close(fd);
		return err;
	}
	opened = true;
	return 0;
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

void Uring::close()
{
	if (!std::exchange(opened, false))
		return;
	/*
	 * Not io_uring_queue_exit(): from liburing 2.5 to 2.8 it leaves half of
	 * an array of 128-byte SQEs mapped, which holds the ring.
	 */
	unmap(ring);
	/* The one flag that there may be; liburing 2.3 does not look for it itself. */
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

int Uring::wait(struct io_uring_cqe **cqe, const Deadline &deadline)
{
	for (;;) {
		const int ms = deadline.poll_ms();
		struct __kernel_timespec ts = { .tv_sec = ms / 1000,
						.tv_nsec = ms % 1000 * 1'000'000L };
		const int err = io_uring_wait_cqe_timeout(&ring, cqe, &ts);

		if ((err != -EINTR && err != -ETIME) || deadline.over())
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

		const int res = plain_result(cqe);

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

static std::string path_of(const Fd &file)
{
	return "/proc/self/fd/" + std::to_string(file.get());
}

Fd memory_file()
{
	constexpr unsigned noexec_seal = 8; /* MFD_NOEXEC_SEAL, since v6.3, as some demand it */
	Fd file = Fd::from(memfd_create("io_uring_test", MFD_CLOEXEC | noexec_seal));

	if (file.error() == -EINVAL)
		file = Fd::from(memfd_create("io_uring_test", MFD_CLOEXEC));
	return file;
}

/* A file with a lease, which makes who opens it wait. */
static Fd leased_file()
{
	Fd unleased = memory_file();

	if (!unleased)
		return unleased;
	/* Opened anew: only so the kernel counts who has it open (check_conflicting_open()). */
	Fd file = Fd::from(open(path_of(unleased).c_str(), O_RDWR | O_CLOEXEC));

	if (!file)
		return file;
	/* Nobody is to be sent SIGIO. */
	if (fcntl(file.get(), F_SETLEASE, F_WRLCK) || fcntl(file.get(), F_SETOWN, 0))
		return Fd(-errno);
	return file;
}

void Work::prepare(struct io_uring_sqe *sqe)
{
	if (kind == Class::bounded)
		/* Who would but read waits by looking again and again (__break_lease()). */
		io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_WRONLY | O_CLOEXEC, 0);
	else if (kind == Class::unbounded)
		io_uring_prep_splice(sqe, gate.rd.get(), -1, sink.wr.get(), -1, 1, 0);
	else
		io_uring_prep_write(sqe, file.get(), "", 1, 0);
	if (kind != Class::hashed)
		sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = user_data();
}

__u64 Work::user_data() const
{
	return static_cast<__u64>(kind == Class::bounded ? Result::file : Result::byte);
}

int Work::open()
{
	if (kind == Class::unbounded) {
		const int err = gate.open();

		return err ?: sink.open();
	}
	file = kind == Class::bounded ? leased_file() : memory_file();
	path = path_of(file);
	return file.error();
}

int Work::submit(Uring &ring)
{
	if (!file && !gate.rd) {
		if (const int err = open())
			return err;
	}

	for (unsigned i = 0; i < nr; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		if (!sqe)
			return -EBUSY;
		prepare(sqe);
		if (i + 1 < nr)
			sqe->flags |= flags;
	}

	const int submitted = io_uring_submit(ring.get());

	if (submitted < 0)
		return submitted;
	/* With SQPOLL it is what happens to be left for the thread. */
	if (ring.get()->flags & IORING_SETUP_SQPOLL)
		return 0;
	return static_cast<unsigned>(submitted) == nr ? 0 : -EIO;
}

int Work::release()
{
	if (kind == Class::bounded)
		return fcntl(file.get(), F_SETLEASE, F_UNLCK) ? -errno : 0;
	if (kind == Class::hashed)
		return 0;

	const std::vector<char> bytes(nr);
	const ssize_t written = write(gate.wr.get(), bytes.data(), nr);

	if (written < 0)
		return -errno;
	return static_cast<size_t>(written) == nr ? 0 : -EIO;
}

int serve(Uring &ring, Class c, unsigned nr)
{
	Work work(c, nr);

	if (const int err = work.submit(ring))
		return err;
	if (const int err = work.release())
		return err;
	return ring.reap(nr);
}
