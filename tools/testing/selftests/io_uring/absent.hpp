/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Memory that makes a worker wait. */
#ifndef ABSENT_HPP
#define ABSENT_HPP

#include "fd.hpp"

/*
 * A page that is not there yet, by userfaultfd(2).  Whoever reads it waits until it is released,
 * and so does the kernel: a write from this page begins, and does not end.
 */
class AbsentPage {
public:
	AbsentPage() = default;
	AbsentPage(const AbsentPage &) = delete;
	~AbsentPage();

	/* 0, or -errno: -EPERM without CAP_SYS_PTRACE, -ENOSYS without CONFIG_USERFAULTFD. */
	int open();
	const void *get() const { return page; }
	/* True once somebody waits for it; false after limit::event. */
	bool await_reader() const;
	/* Puts a page of zeroes there.  0, or -errno. */
	int release();

private:
	Fd faults;
	void *page = nullptr;
};

#endif /* ABSENT_HPP */
