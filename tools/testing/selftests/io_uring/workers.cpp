// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "workers.hpp"

#include <algorithm>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <iterator>
#include <limits.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <sstream>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel.hpp"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace {

constexpr unsigned long PF_IO_WORKER = 0x10; /* <linux/sched.h> */

std::string task_dir(pid_t pid)
{
	return "/proc/" + std::to_string(pid) + "/task";
}

/* The text of a small file, empty if it cannot be read. */
std::string slurp(const std::string &path)
{
	const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
	char buf[4096];
	const ssize_t len = file ? read(file.get(), buf, sizeof(buf)) : -1;

	return std::string(buf, len > 0 ? static_cast<size_t>(len) : 0);
}

/* What proc_pid_stat(5) tells of a thread. */
struct Stat {
	std::string comm;
	char state = 0;
	unsigned long flags = 0;
};

std::optional<Stat> thread_stat(pid_t pid, pid_t tid)
{
	const std::string text = slurp(task_dir(pid) + "/" + std::to_string(tid) + "/stat");
	const size_t open = text.find('('), close = text.rfind(')');
	Stat stat;

	if (close == std::string::npos ||
	    sscanf(text.c_str() + close, ") %c %*d %*d %*d %*d %*d %lu", &stat.state,
		   &stat.flags) != 2)
		return {};
	stat.comm = text.substr(open + 1, close - open - 1);
	return stat;
}

/* The kernel function that a thread sleeps in, or "0" (proc_pid_wchan()). */
std::string wchan(pid_t pid, pid_t tid)
{
	return slurp(task_dir(pid) + "/" + std::to_string(tid) + "/wchan");
}

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

/*
 * The threads of @pid.  A listing ends early where a thread dies under it
 * (next_tid()): only one as long as the kernel's count before and after is whole.
 */
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

/* The number behind @key in /proc/<pid>/status, or -1. */
int status_value(pid_t pid, std::string_view key)
{
	const std::string status = slurp("/proc/" + std::to_string(pid) + "/status");
	const size_t pos = status.find(key);

	return pos == std::string::npos ? -1 : atoi(status.c_str() + pos + key.size());
}

/*
 * Waits until threads that poll as gone are off all books.  release_task()
 * holds tasklist_lock from the one to the other, and do_wait() takes it.
 */
void settle()
{
	siginfo_t info;

	waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
}

} // namespace

const char *describe(Exit::Fate fate)
{
	switch (fate) {
	case Exit::gone:
		return "gone";
	case Exit::lingering:
		return "an idle worker lingers, though the ring is gone and nothing woke it";
	case Exit::ring_held:
		return "the closed ring did not come to its end";
	case Exit::busy:
		return "the ring is gone, but a worker neither sleeps nor leaves";
	case Exit::unwoken:
		return "a thread of io_uring sleeps on, though what it works for has ended";
	}
	return "?";
}

bool Workers::Worker::gone() const
{
	struct pollfd p = { .fd = pidfd.get(), .events = 0, .revents = 0 };

	/* POLLIN would come early, while the TID is still to be seen. */
	if (pidfd)
		return poll(&p, 1, 0) == 1;
	return syscall(SYS_tgkill, pid, tid, 0) && errno == ESRCH;
}

/*
 * A worker about to look for work already calls itself asleep, and may be
 * preempted right there.  wchan is 0 for it, as for whatever is on a run queue;
 * so it is for all where the kernel does not tell, even of our waiting parent.
 */
bool Workers::Worker::asleep() const
{
	static const bool wchan_told = wchan(getppid(), getppid()) != "0";
	const auto stat = thread_stat(pid, tid);

	return stat && stat->state == 'S' && (!wchan_told || wchan(pid, tid) != "0");
}

Workers Workers::select(pid_t pid, bool sqpoll)
{
	Workers workers;

	for (const pid_t tid : threads(pid)) {
		const auto stat = thread_stat(pid, tid);

		if (!stat || !(stat->flags & PF_IO_WORKER) ||
		    stat->comm.starts_with("iou-sqp-") != sqpoll)
			continue;

		Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, tid, PIDFD_THREAD)));

		if (pidfd || errno != ESRCH)
			workers.list.push_back({ pid, tid, std::move(pidfd) });
	}
	std::ranges::sort(workers.list, {}, &Worker::tid);
	return workers;
}

Workers Workers::await(size_t nr, pid_t pid)
{
	const Deadline deadline(limit::event);
	Workers workers = now(pid);

	while (workers.count() < nr && !deadline.over()) {
		deadline.back_off();
		workers = now(pid);
	}
	return workers;
}

std::vector<pid_t> Workers::tids() const
{
	std::vector<pid_t> tids;

	std::ranges::transform(list, std::back_inserter(tids), &Worker::tid);
	return tids;
}

size_t Workers::alive() const
{
	return static_cast<size_t>(std::ranges::count(list, false, &Worker::gone));
}

Workers Workers::without(const Workers &others) &&
{
	std::erase_if(list, [&](const Worker &worker) {
		return std::ranges::count(others.list, worker.tid, &Worker::tid);
	});
	return std::move(*this);
}

/*
 * Waits until no more than @rest workers are left, the ring of @end is gone,
 * or @deadline is over.  How many workers are left.
 */
size_t Workers::wait(size_t rest, const Deadline &deadline, const RingEnd *end) const
{
	for (;;) {
		std::vector<struct pollfd> fds;
		size_t left = 0;
		bool by_tid = false;

		for (const Worker &worker : list) {
			if (worker.gone())
				continue;
			left++;
			by_tid |= !worker.pidfd;
			fds.push_back({ .fd = worker.pidfd.get(), .events = 0, .revents = 0 });
		}
		if (left <= rest) {
			settle();
			return left;
		}
		if (deadline.over())
			return left;
		if (end)
			fds.push_back({ .fd = end->fd(), .events = 0, .revents = 0 });
		poll(fds.data(), fds.size(), by_tid ? 1 : deadline.poll_ms());
		if (end && fds.back().revents)
			return left;
	}
}

Exit Workers::await_exit(const RingEnd &end) const
{
	const Deadline deadline(limit::event);
	const auto seen = [&](Exit::Fate fate) { return Exit{ fate, deadline.spent() }; };

	if (!wait(0, deadline, &end))
		return seen(Exit::gone);
	if (deadline.over())
		return seen(Exit::ring_held);

	const Exit soon = leave(deadline, limit::glance, Exit::lingering);

	if (soon.fate != Exit::lingering || !exit_on_idle_promise())
		return soon;
	return leave(deadline, limit::grace, Exit::lingering);
}

Exit Workers::await_exit() const
{
	return leave(Deadline(limit::event), limit::prompt, Exit::unwoken);
}

/* Gives them until @deadline, but to one that is asleep after @limit no more. */
Exit Workers::leave(const Deadline &deadline, milliseconds limit, Exit::Fate asleep) const
{
	const auto seen = [&](Exit::Fate fate) { return Exit{ fate, deadline.spent() }; };

	while (!deadline.over()) {
		if (!wait(0, Deadline(limit)))
			return seen(Exit::gone);
		if (std::ranges::any_of(list, &Worker::asleep))
			return seen(asleep);
	}
	return seen(Exit::busy);
}

bool Workers::asleep() const
{
	return std::ranges::all_of(list, &Worker::asleep);
}

bool Workers::await_asleep() const
{
	const Deadline deadline(limit::event);

	/* Falling asleep is no event that can be waited for. */
	while (!asleep()) {
		if (deadline.over() || alive() < count())
			return false;
		deadline.back_off();
	}
	return true;
}

Workers Workers::await_idle()
{
	const Deadline deadline(limit::event);
	Workers workers = now();

	while ((workers.count() != 1 || !workers.asleep()) && !deadline.over()) {
		deadline.back_off();
		workers = now();
	}
	return workers;
}

unsigned Workers::serve(Ring &ring, Class c, unsigned nr) const
{
	unsigned served = 0;

	/* One that is not idle yet would be joined by another. */
	while (served < nr && await_asleep() && ::serve(ring, c) == 0 && now().tids() == tids())
		served++;
	return served;
}

bool Workers::stay(milliseconds time) const
{
	return wait(count() - 1, Deadline(time)) == count();
}

int thread_count(pid_t pid)
{
	return status_value(pid, "\nThreads:");
}

std::string kernel_stack(pid_t tid)
{
	std::istringstream stack(slurp(task_dir(getpid()) + "/" + std::to_string(tid) + "/stack"));
	std::string lines;

	for (std::string frame; std::getline(stack, frame);)
		lines += (lines.empty() ? "#   " : "\n#   ") + frame;
	return lines;
}

size_t open_files()
{
	/* But for the one that lists them. */
	return list_once("/proc/self/fd").size() - 1;
}

int address_space_kb()
{
	return status_value(getpid(), "\nVmSize:");
}

void dump_threads(pid_t pid)
{
	fprintf(stderr, "# threads of %d, Threads: %d\n", pid, thread_count(pid));
	for (const pid_t tid : threads(pid)) {
		const Stat stat = thread_stat(pid, tid).value_or(Stat());

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
