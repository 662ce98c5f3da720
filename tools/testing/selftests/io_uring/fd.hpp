/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Move-only owners of file descriptors.
 *
 * The helpers of this selftest tell of errors in one way.  What may fail returns 0 or
 * -errno, and -ETIME where a wait came to its limit; an Fd holds a descriptor or -errno.
 * What only asks, or awaits something, returns true or false.  errno itself means something
 * after a system call of the test's own, and never after a helper.
 */
#ifndef FD_HPP
#define FD_HPP

#include <errno.h>
#include <unistd.h>
#include <utility>

class Fd {
public:
	Fd() = default;
	/* Takes a descriptor, or -errno. */
	explicit Fd(int fd) : fd(fd) {}
	/* Takes what a system call returned: a descriptor, or -1 and errno. */
	static Fd from(long ret) { return Fd(ret < 0 ? -errno : static_cast<int>(ret)); }
	Fd(Fd &&other) noexcept : fd(std::exchange(other.fd, none)) {}
	Fd &operator=(Fd &&other) noexcept
	{
		std::swap(fd, other.fd);
		return *this;
	}
	~Fd() { close(); }

	/* The descriptor, or -errno. */
	int get() const { return fd; }
	/* 0 if there is a descriptor, or -errno. */
	int error() const { return fd < 0 ? fd : 0; }
	explicit operator bool() const { return fd >= 0; }

	void close()
	{
		if (fd >= 0)
			::close(std::exchange(fd, none));
	}

private:
	static constexpr int none = -EBADF;

	int fd = none;
};

/* Both ends of a pipe(7). */
struct PipeEnds {
	Fd rd, wr;

	/* 0, or -errno. */
	int open();
};

#endif /* FD_HPP */
