// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "kernel.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fstream>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "child.hpp"
#include "environment.hpp"
#include "work.hpp"

namespace {

/* The line of /proc/kallsyms with @symbol, or an empty one. */
std::string kallsyms_line(std::string_view symbol)
{
	std::ifstream kallsyms("/proc/kallsyms");
	std::string line;

	while (std::getline(kallsyms, line))
		if (line.ends_with(symbol) && line[line.size() - symbol.size() - 1] == ' ')
			return line;
	return {};
}

const char *io_uring_forbidden()
{
	struct io_uring_params p = {};
	const Fd ring(io_uring_setup(1, &p));
	const auto fd = static_cast<unsigned>(ring.get());
	const int file = STDERR_FILENO;
	int disabled = 0;

	/* seccomp may return ENOSYS as well, and that of containers does. */
	if (ring.get() == -ENOSYS && kallsyms_line("io_wq_create").empty())
		return skip::no_io_uring;
	std::ifstream("/proc/sys/kernel/io_uring_disabled") >> disabled;
	if (ring.get() == -EPERM && disabled)
		return skip::disabled;
	if (refused(ring.get()))
		return skip::forbidden;
	if (ring && (refused(io_uring_register(fd, IORING_REGISTER_FILES, &file, 1)) ||
		     refused(io_uring_enter(fd, 0, 0, 0, nullptr))))
		return skip::forbidden;
	return nullptr;
}

/* False if /proc is that of another PID namespace, where this process has another PID. */
bool proc_is_ours()
{
	char self[16] = "";

	return readlink("/proc/self", self, sizeof(self) - 1) > 0 && atoi(self) == getpid();
}

constexpr unsigned rings = 64; /* that the largest test has open */

/* Raises the limit of @resource to the hard limit if it is below @need.  True if that is enough. */
bool enough(__rlimit_resource_t resource, rlim_t need)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return false;
	if (limit.rlim_cur < need) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(resource, &limit);
	}
	return limit.rlim_cur >= need;
}

/* A ring takes a descriptor, and the event of its end up to three. */
bool enough_files()
{
	return enough(RLIMIT_NOFILE, 4UL * rings);
}

/* A ring takes two pages, and so do closed rings that have not ended. */
bool enough_memory()
{
	if (enough(RLIMIT_MEMLOCK, 4UL * rings * static_cast<rlim_t>(getpagesize())))
		return true;

	/* Rings count since v6.14, unless privileged (io_create_region()): then this one fails. */
	struct io_uring_params p = {};
	struct rlimit limit, none;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	none = { .rlim_cur = 0, .rlim_max = limit.rlim_max };
	setrlimit(RLIMIT_MEMLOCK, &none);
	const Fd ring(io_uring_setup(1, &p));

	setrlimit(RLIMIT_MEMLOCK, &limit);
	return !!ring;
}

/* Tests write a few bytes to files in memory. */
bool enough_file_size()
{
	return enough(RLIMIT_FSIZE, 4096);
}

enum Threads { enough_threads, few_threads, no_threads, no_room };

/* Whether a child can have as many threads as the largest test has workers. */
Threads try_threads()
{
	constexpr int need = 20;

	const int tried = in_child([] {
		try {
			for (int i = 0; i < need; i++)
				std::thread(pause).detach();
		} catch (const std::system_error &why) {
			if (why.code() != std::errc::resource_unavailable_try_again)
				return no_threads;
			/* The error is the same if there is no memory for a stack. */
			return in_child([] { return 0; }) == -EAGAIN ? few_threads : no_room;
		}
		return enough_threads;
	});

	if (tried < 0)
		return tried == -EAGAIN ? few_threads : no_room;
	return static_cast<Threads>(tried);
}

const char *threads_lacking()
{
	enough(RLIMIT_AS, RLIM_INFINITY);
	enough(RLIMIT_DATA, RLIM_INFINITY);
	switch (try_threads()) {
	case few_threads:
		return skip::few_threads;
	case no_threads:
		return skip::no_threads;
	case no_room:
		return skip::little_address_space;
	default:
		return nullptr;
	}
}

/* Why class Work cannot make requests that wait until it releases them, or a null pointer. */
const char *waiting_lacking()
{
	constexpr int need = 30; /* as long as a test may take */
	int seconds = 0;

	if (!memory_file())
		return skip::no_memory_file;
	if (Work(Class::bounded).open())
		return skip::no_lease;
	std::ifstream("/proc/sys/fs/lease-break-time") >> seconds;
	return seconds && seconds < need ? skip::short_lease : nullptr;
}

/* Says which list of the kernel's functions has @symbol; a null pointer if none has. */
const char *symbol_source(std::string_view symbol)
{
	if (!kallsyms_line(symbol).empty())
		return "/proc/kallsyms has io_wq_set_exit_on_idle()";

	std::ifstream btf("/sys/kernel/btf/vmlinux", std::ios::binary);
	std::string name;

	while (std::getline(btf, name, '\0'))
		if (name == symbol)
			return "BTF has io_wq_set_exit_on_idle()";
	return nullptr;
}

/* True if the variable @name is 1 in the environment. */
bool demanded(const char *name)
{
	const char *value = getenv(name);

	return value && !strcmp(value, "1");
}

/* As exit_on_idle_promise(). */
const char *find_promise()
{
	struct utsname uts;

	if (demanded("KSFT_REQUIRE_EXIT_ON_IDLE"))
		return "KSFT_REQUIRE_EXIT_ON_IDLE=1 demands it";
	if (const char *source = symbol_source("io_wq_set_exit_on_idle"))
		return source;
	if (uname(&uts) == 0 && atoi(uts.release) >= 7)
		return "it is v7.0 or later";
	return nullptr;
}

} // namespace

const char *cannot_test()
{
	if (const char *why = io_uring_forbidden())
		return why;
	if (!proc_is_ours())
		return skip::no_proc;
	if (!Fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))))
		return skip::no_pidfd;
	if (!enough_files())
		return skip::few_files;
	if (!enough_memory())
		return skip::little_memory;
	if (!enough_file_size())
		return skip::small_files;
	if (const char *why = threads_lacking())
		return why;
	return waiting_lacking();
}

const char *exit_on_idle_promise()
{
	static const char *const promise = find_promise();

	return promise;
}

const char *must_not_disturb()
{
	return demanded("KSFT_DISTURB") ? nullptr : skip::may_not_disturb;
}

unsigned long symbol_address(std::string_view symbol)
{
	return strtoul(kallsyms_line(symbol).c_str(), nullptr, 16);
}
