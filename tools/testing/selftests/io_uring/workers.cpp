// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "workers.hpp"

#include <algorithm>
#include <errno.h>
#include <fcntl.h>
#include <iterator>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel.hpp"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace {

constexpr unsigned long PF_IO_WORKER = 0x10; /* <linux/sched.h> */

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

bool WorkerSet::Worker::gone() const
{
	struct pollfd p = { .fd = pidfd.get(), .events = 0, .revents = 0 };

	/* POLLIN would come early, while the TID is still to be seen. */
	if (pidfd)
		return poll(&p, 1, 0) == 1;
	return syscall(SYS_tgkill, pid, tid, 0) && errno == ESRCH;
}

WorkerSet WorkerSet::select(pid_t pid, bool sqpoll)
{
	WorkerSet workers;

	for (const pid_t tid : threads(pid)) {
		const auto stat = thread_stat(pid, tid);

		if (!stat || !(stat->flags & PF_IO_WORKER) ||
		    stat->comm.starts_with("iou-sqp-") != sqpoll)
			continue;

		Fd pidfd = Fd::from(syscall(SYS_pidfd_open, tid, PIDFD_THREAD));

		if (pidfd.error() != -ESRCH)
			workers.list.push_back({ pid, tid, std::move(pidfd) });
	}
	std::ranges::sort(workers.list, {}, &Worker::tid);
	return workers;
}

WorkerSet WorkerSet::await(size_t nr, pid_t pid, bool sqpoll)
{
	const Deadline deadline(limit::event);
	WorkerSet workers = select(pid, sqpoll);

	while (workers.count() < nr && !deadline.over()) {
		deadline.back_off();
		workers = select(pid, sqpoll);
	}
	return workers;
}

std::vector<pid_t> WorkerSet::tids() const
{
	std::vector<pid_t> tids;

	std::ranges::transform(list, std::back_inserter(tids), &Worker::tid);
	return tids;
}

size_t WorkerSet::alive() const
{
	return static_cast<size_t>(
		std::ranges::count_if(list, [](const Worker &worker) { return !worker.gone(); }));
}

WorkerSet WorkerSet::without(const WorkerSet &others) &&
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
size_t WorkerSet::wait(size_t rest, const Deadline &deadline, const RingEnd *end) const
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

Exit WorkerSet::await_exit(const RingEnd &end) const
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

Exit WorkerSet::await_exit() const
{
	return leave(Deadline(limit::event), limit::prompt, Exit::unwoken);
}

/*
 * Gives them limit::event, but to one that is asleep after @limit no more.  @since is
 * what the time is told from.
 */
Exit WorkerSet::leave(const Deadline &since, milliseconds limit, Exit::Fate asleep) const
{
	const auto seen = [&](Exit::Fate fate) { return Exit{ fate, since.spent() }; };

	for (milliseconds waited{}; waited < limit::event; waited += limit) {
		if (!wait(0, Deadline(limit)))
			return seen(Exit::gone);
		if (std::ranges::any_of(list, &Worker::asleep))
			return seen(asleep);
	}
	return seen(Exit::busy);
}

bool WorkerSet::asleep() const
{
	return std::ranges::all_of(list, &Worker::asleep);
}

bool WorkerSet::await_asleep() const
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

WorkerSet WorkerSet::await_idle()
{
	const Deadline deadline(limit::event);
	WorkerSet workers = now();

	while ((workers.count() != 1 || !workers.asleep()) && !deadline.over()) {
		deadline.back_off();
		workers = now();
	}
	return workers;
}

unsigned WorkerSet::serve(Uring &ring, Class c, unsigned nr) const
{
	for (unsigned served = 0; served < nr; served++) {
		/* A worker that is not idle yet would be joined by another one. */
		if (!await_asleep() || ::serve(ring, c) || now().tids() != tids())
			return served;
	}
	return nr;
}

bool WorkerSet::stay(milliseconds time) const
{
	return count() && wait(count() - 1, Deadline(time)) == count();
}

bool WorkerSet::sleep_on(milliseconds time) const
{
	std::vector<std::optional<unsigned long>> before;

	std::ranges::transform(list, std::back_inserter(before), &Worker::switches);
	return stay(time) && asleep() &&
	       std::ranges::equal(before, list, {}, {}, &Worker::switches);
}
