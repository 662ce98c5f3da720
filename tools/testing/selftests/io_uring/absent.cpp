// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "absent.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "deadline.hpp"

static size_t page_size()
{
	return static_cast<size_t>(getpagesize());
}

static struct uffdio_range range_of(const void *page)
{
	struct uffdio_range range = {};

	range.start = reinterpret_cast<uintptr_t>(page);
	range.len = page_size();
	return range;
}

AbsentPage::~AbsentPage()
{
	/* Before the memory: who still waits goes on. */
	faults.close();
	if (page)
		munmap(page, page_size());
}

int AbsentPage::open()
{
	struct uffdio_api api = {};
	struct uffdio_register missing = {};

	faults = Fd::from(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
	if (!faults)
		return faults.error();
	api.api = UFFD_API;
	if (ioctl(faults.get(), UFFDIO_API, &api))
		return -errno;

	void *map = mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	page = map;
	missing.range = range_of(page);
	missing.mode = UFFDIO_REGISTER_MODE_MISSING;
	return ioctl(faults.get(), UFFDIO_REGISTER, &missing) ? -errno : 0;
}

bool AbsentPage::await_reader() const
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = faults.get(), .events = POLLIN, .revents = 0 };

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return p.revents & POLLIN;
	return false;
}

int AbsentPage::release()
{
	struct uffdio_zeropage zeroes = {};

	zeroes.range = range_of(page);
	return ioctl(faults.get(), UFFDIO_ZEROPAGE, &zeroes) ? -errno : 0;
}
