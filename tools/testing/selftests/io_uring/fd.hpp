/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Move-only owners of file descriptors. */
#ifndef FD_HPP
#define FD_HPP

#include <unistd.h>
#include <utility>

class Fd {
public:
	Fd() = default;
	explicit Fd(int fd) : fd(fd) {}
	Fd(Fd &&other) noexcept : fd(std::exchange(other.fd, -1)) {}
	Fd &operator=(Fd &&other) noexcept
	{
		std::swap(fd, other.fd);
		return *this;
	}
	~Fd() { close(); }

	/* The descriptor, or a negative number where there is none. */
	int get() const { return fd; }
	explicit operator bool() const { return fd >= 0; }

	void close()
	{
		if (fd >= 0)
			::close(std::exchange(fd, -1));
	}

private:
	int fd = -1;
};

/* Both ends of a pipe(7). */
struct PipeEnds {
	Fd rd, wr;

	/* 0, or -errno. */
	int open();
};

#endif /* FD_HPP */
