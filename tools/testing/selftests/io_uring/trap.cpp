// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "trap.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.hpp"

/* A page that tells how much was written, and one for it: the first record is kept. */
static size_t page_size()
{
	return static_cast<size_t>(getpagesize());
}

Trap::Trap(struct perf_event_attr attr, pid_t tid)
{
	attr.size = sizeof(attr);
	attr.sample_type = PERF_SAMPLE_CALLCHAIN;
	attr.wakeup_events = 1;
	attr.exclude_user = 1;
	attr.exclude_callchain_user = 1;
	event = Fd::from(syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC));
	if (!event)
		return;

	void *map =
		mmap(nullptr, 2 * page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, event.get(), 0);

	if (map != MAP_FAILED)
		buffer = map;
}

Trap Trap::breakpoint(unsigned long address, pid_t tid, unsigned nth)
{
	struct perf_event_attr attr = {};

	attr.type = PERF_TYPE_BREAKPOINT;
	attr.bp_type = HW_BREAKPOINT_X;
	attr.bp_addr = address;
	attr.bp_len = sizeof(long);
	attr.sample_period = nth;
	return { attr, tid };
}

Trap Trap::clock(pid_t tid, std::chrono::nanoseconds time)
{
	struct perf_event_attr attr = {};

	attr.type = PERF_TYPE_SOFTWARE;
	attr.config = PERF_COUNT_SW_TASK_CLOCK;
	attr.sample_period = static_cast<__u64>(time.count());
	return { attr, tid };
}

Trap::Trap(Trap &&other) noexcept
	: event(std::move(other.event)), buffer(std::exchange(other.buffer, nullptr))
{
}

Trap &Trap::operator=(Trap &&other) noexcept
{
	std::swap(event, other.event);
	std::swap(buffer, other.buffer);
	return *this;
}

Trap::~Trap()
{
	if (buffer)
		munmap(buffer, 2 * page_size());
}

bool Trap::sprung() const
{
	return buffer && static_cast<volatile struct perf_event_mmap_page *>(buffer)->data_head;
}

/* What PERF_SAMPLE_CALLCHAIN wrote: a header, the number of addresses, and these. */
std::vector<unsigned long> Trap::addresses() const
{
	std::vector<unsigned long> list;

	if (!sprung())
		return list;

	const auto *sample =
		reinterpret_cast<const __u64 *>(static_cast<char *>(buffer) + page_size());

	/* But for the one that says that the others are the kernel's. */
	std::copy_if(sample + 2, sample + 2 + sample[1], std::back_inserter(list),
		     [](__u64 address) { return address < PERF_CONTEXT_MAX; });
	return list;
}

/* The functions of the kernel that have @addresses, none if /proc/kallsyms does not tell. */
static std::vector<std::string> symbols_at(const std::vector<unsigned long> &addresses)
{
	std::vector<std::pair<unsigned long, std::string>> best(addresses.size());
	std::vector<std::string> names;
	std::ifstream kallsyms("/proc/kallsyms");
	std::string line;

	while (std::getline(kallsyms, line)) {
		const unsigned long start = strtoul(line.c_str(), nullptr, 16);

		for (size_t i = 0; i < addresses.size(); i++)
			if (start <= addresses[i] && start > best[i].first)
				best[i] = { start, line };
	}
	for (const auto &[start, symbol] : best)
		if (start)
			names.push_back(symbol.substr(symbol.find_last_of(' ') + 1) + "()");
	return names;
}

std::string Trap::stack() const
{
	std::string lines;

	for (const std::string &name : symbols_at(addresses()))
		lines += (lines.empty() ? "#   " : "\n#   ") + name;
	return lines;
}
