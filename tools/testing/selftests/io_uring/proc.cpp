// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "proc.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <iterator>
#include <limits.h>
#include <memory>
#include <sstream>
#include <stdio.h>
#include <stdlib.h>
#include <string_view>
#include <sys/stat.h>

#include "child.hpp"
#include "fd.hpp"

namespace {

std::string task_dir(pid_t pid)
{
	return "/proc/" + std::to_string(pid) + "/task";
}

/* The text of a small file, empty if it cannot be read. */
std::string slurp(const std::string &path)
{
	const Fd file = Fd::from(open(path.c_str(), O_RDONLY | O_CLOEXEC));
	char buf[4096];
	const ssize_t len = file ? read(file.get(), buf, sizeof(buf)) : -1;

	return std::string(buf, len > 0 ? static_cast<size_t>(len) : 0);
}

/* The kernel function that a thread sleeps in, or "0" (proc_pid_wchan()). */
std::string wchan(pid_t pid, pid_t tid)
{
	return slurp(task_dir(pid) + "/" + std::to_string(tid) + "/wchan");
}

bool wchan_told;

/* How many threads the kernel counts; -1 if the process is gone. */
long thread_links(const std::string &dir)
{
	struct stat st;

	return stat(dir.c_str(), &st) ? -1 : static_cast<long>(st.st_nlink) - 2;
}

std::vector<pid_t> list_once(const std::string &dir)
{
	const std::unique_ptr<DIR, int (*)(DIR *)> d(opendir(dir.c_str()), closedir);
	std::vector<pid_t> tids;

	while (const struct dirent *entry = d ? readdir(d.get()) : nullptr)
		if (entry->d_name[0] != '.')
			tids.push_back(atoi(entry->d_name));
	return tids;
}

/* The number behind @key in a status file, or -1. */
long value_of(std::string_view key, const std::string &status)
{
	const size_t pos = status.find(key);

	return pos == std::string::npos ? -1 : atol(status.c_str() + pos + key.size());
}

/* The same in /proc/<pid>/status. */
int status_value(pid_t pid, std::string_view key)
{
	return static_cast<int>(value_of(key, slurp("/proc/" + std::to_string(pid) + "/status")));
}

} // namespace

void learn_wchan()
{
	const pid_t self = getpid();

	/* A child looks at this process, which waits for it. */
	wchan_told = in_child([=] {
			     const Deadline deadline(limit::grace);

			     /* It looks after its child now and then. */
			     while (!deadline.over()) {
				     if (wchan(self, self) != "0")
					     return 0;
				     deadline.back_off();
			     }
			     return 1;
		     }) == 0;
}

std::optional<ThreadStat> thread_stat(pid_t pid, pid_t tid)
{
	const std::string text = slurp(task_dir(pid) + "/" + std::to_string(tid) + "/stat");
	const size_t open = text.find('('), close = text.rfind(')');
	ThreadStat stat;

	if (close == std::string::npos ||
	    sscanf(text.c_str() + close, ") %c %d %*d %*d %*d %*d %lu", &stat.state, &stat.parent,
		   &stat.flags) != 3)
		return {};
	stat.comm = text.substr(open + 1, close - open - 1);
	return stat;
}

bool thread_asleep(pid_t pid, pid_t tid)
{
	const auto stat = thread_stat(pid, tid);

	return stat && stat->state == 'S' && (!wchan_told || wchan(pid, tid) != "0");
}

std::optional<unsigned long> thread_switches(pid_t pid, pid_t tid)
{
	const std::string status = slurp(task_dir(pid) + "/" + std::to_string(tid) + "/status");
	const long voluntary = value_of("\nvoluntary_ctxt_switches:", status);

	if (voluntary < 0)
		return {};
	return static_cast<unsigned long>(voluntary +
					  value_of("\nnonvoluntary_ctxt_switches:", status));
}

std::vector<pid_t> threads(pid_t pid)
{
	const std::string dir = task_dir(pid);
	const Deadline deadline(limit::event);
	std::vector<pid_t> tids;
	long before, after;

	do {
		before = thread_links(dir);
		tids = list_once(dir);
		after = thread_links(dir);
	} while ((before != after || before != std::ssize(tids)) && after > 0 && !deadline.over());
	return tids;
}

int thread_count(pid_t pid)
{
	return status_value(pid, "\nThreads:");
}

size_t open_files()
{
	/* But for the one that lists them. */
	return list_once("/proc/self/fd").size() - 1;
}

void close_files_from(int first)
{
	for (const int fd : list_once("/proc/self/fd"))
		if (fd >= first)
			close(fd);
}

int address_space_kb()
{
	return status_value(getpid(), "\nVmSize:");
}

void dump_halted()
{
	unsigned halted = 0, ending = 0;

	for (const pid_t pid : list_once("/proc")) {
		for (const pid_t tid : pid > 0 ? list_once(task_dir(pid)) : std::vector<pid_t>()) {
			const ThreadStat stat = thread_stat(pid, tid).value_or(ThreadStat());
			const std::string where = wchan(pid, tid);

			/* kworker/u4:1+iou_exit */
			ending += slurp(task_dir(pid) + "/" + std::to_string(tid) + "/comm")
					  .find("+iou_exit") != std::string::npos;
			if (stat.state != 'T' && stat.state != 't' && where != "do_freezer_trap" &&
			    where != "__refrigerator")
				continue;
			if (halted++ < 20)
				fprintf(stderr, "#   %d of %d %-16s state %c wchan %s\n", tid, pid,
					stat.comm.c_str(), stat.state, where.c_str());
		}
	}
	fprintf(stderr, "# threads that are stopped or frozen: %u; kworkers that end rings: %u\n",
		halted, ending);
}

static void dump_process(pid_t pid)
{
	fprintf(stderr, "# threads of %d, Threads: %d\n", pid, thread_count(pid));
	for (const pid_t tid : threads(pid)) {
		const ThreadStat stat = thread_stat(pid, tid).value_or(ThreadStat());

		fprintf(stderr, "#   %d %-16s state %c flags %#lx wchan %s\n", tid,
			stat.comm.c_str(), stat.state ? stat.state : '?', stat.flags,
			wchan(pid, tid).c_str());
	}

	const std::string fd_dir = "/proc/" + std::to_string(pid) + "/fd";

	for (const pid_t fd : list_once(fd_dir)) {
		char target[PATH_MAX];
		const ssize_t len = readlink((fd_dir + "/" + std::to_string(fd)).c_str(), target,
					     sizeof(target));

		if (len > 0 &&
		    std::string_view(target, static_cast<size_t>(len)) == "anon_inode:[io_uring]")
			fprintf(stderr, "#   fd %d is an open ring\n", fd);
	}
}

void dump_threads()
{
	dump_process(getpid());
	/* What is no number there is 0. */
	for (const pid_t pid : list_once("/proc"))
		if (const auto stat = thread_stat(pid, pid); stat && stat->parent == getpid())
			dump_process(pid);
}
