// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "work.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <vector>

/* What a request of class Work returns, as its user_data. */
enum class Result : __u64 { other, file, byte };

int Work::result(const struct io_uring_cqe *cqe)
{
	const auto result = static_cast<Result>(cqe->user_data);

	if (result == Result::file && cqe->res >= 0)
		return close(cqe->res) ? -errno : 0;
	return result == Result::byte && cqe->res == 1 ? 0 : cqe->res;
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

int Work::occupy(Uring &ring)
{
	const int err = ring.limit_workers(1, 1);

	return err ? err : submit(ring);
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

void queue_write(Uring &ring, const Fd &file, const void *byte, __u64 name, unsigned flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	/* Without IOSQE_ASYNC, so that it is hashed, see class Work. */
	io_uring_prep_write(sqe, file.get(), byte, 1, 0);
	sqe->flags |= flags;
	sqe->user_data = name;
}

void queue_nop(Uring &ring, __u64 name)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = name;
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
