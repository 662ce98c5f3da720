/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Traps on a thread's way through the kernel, as perf_event_open(2) sets them. */
#ifndef TRAP_HPP
#define TRAP_HPP

#include <chrono>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "fd.hpp"

class Trap {
public:
	Trap() = default;
	/* Springs as thread @tid comes to @address in the kernel for the @nth time. */
	static Trap breakpoint(unsigned long address, pid_t tid, unsigned nth);
	/* Springs once thread @tid has run for @time in the kernel, by a timer's interrupt. */
	static Trap clock(pid_t tid, std::chrono::nanoseconds time);

	Trap(Trap &&other) noexcept;
	Trap &operator=(Trap &&other) noexcept;
	~Trap();

	/* False where the kernel refused it. */
	explicit operator bool() const { return buffer; }
	/* Reports POLLIN once it has sprung, POLLHUP once the thread has ended. */
	int fd() const { return event.get(); }
	/* The same without a system call, and while the thread is still interrupted. */
	bool sprung() const;
	/* Where it sprang, innermost first: addresses in the kernel. */
	std::vector<unsigned long> addresses() const;
	/* The same by names, as "# " lines; empty if they are not told. */
	std::string stack() const;

private:
	Trap(struct perf_event_attr attr, pid_t tid);

	Fd event;
	void *buffer = nullptr;
};

#endif /* TRAP_HPP */
