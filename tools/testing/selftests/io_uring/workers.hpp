/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The io-wq workers of a process. */
#ifndef WORKERS_HPP
#define WORKERS_HPP

#include <sys/types.h>
#include <vector>

#include "fd.hpp"
#include "proc.hpp"
#include "work.hpp"

/* What came of workers that should leave. */
struct Exit {
	enum Fate {
		gone,      /* all have left */
		lingering, /* the ring is gone, yet an idle worker sleeps on */
		ring_held, /* the ring did not come to its end within limit::event */
		busy,      /* a worker neither sleeps nor leaves within limit::event */
		unwoken,   /* its task has ended or will, yet a worker sleeps on */
	} fate;
	std::chrono::microseconds spent;
};

/* What a fate is called in a failure. */
const char *describe(Exit::Fate fate);

/*
 * A snapshot of the io-wq workers in a thread group: the threads with
 * PF_IO_WORKER in /proc/<pid>/task/<tid>/stat, but for the SQPOLL threads.
 * Not by name: a thread is called iou-wrk-<N> only once it has run.
 *
 * Workers are held by pidfd, so that a TID used again deceives nobody.  Before
 * v6.9 a pidfd cannot name a thread (PIDFD_THREAD); there it is by TID.
 */
class WorkerSet {
public:
	/* The workers that @pid, this process by default, has now. */
	static WorkerSet now(pid_t pid = getpid()) { return select(pid, false); }
	/* Its SQPOLL threads, iou-sqp-<N>, once they have run. */
	static WorkerSet sqpoll(pid_t pid = getpid()) { return select(pid, true); }
	/* The same once there is one, or those there are after limit::event. */
	static WorkerSet await_sqpoll(pid_t pid = getpid()) { return await(1, pid, true); }
	/*
	 * The workers that @pid has once they are at least @nr, or those there are
	 * after limit::event.  Of several requests with IOSQE_ASYNC the first alone has
	 * its worker made by io_wq_enqueue(): that one is on the list of free ones before
	 * it has run, and is picked for all that follow at once.  As it blocks, the next
	 * is made (io_wq_dec_running()), by task work of the submitter.
	 */
	static WorkerSet await(size_t nr, pid_t pid = getpid()) { return await(nr, pid, false); }

	/*
	 * The workers of this process once there is but one, and it sleeps, or
	 * those there are after limit::event.
	 */
	static WorkerSet await_idle();

	size_t count() const { return list.size(); }
	/* The first worker, and TIDs in ascending order; -1 and none if empty. */
	pid_t tid() const { return list.empty() ? -1 : list.front().tid; }
	std::vector<pid_t> tids() const;
	/* How many are still there. */
	size_t alive() const;
	/* The workers of this snapshot that @others does not have. */
	WorkerSet without(const WorkerSet &others) &&;

	/*
	 * Awaits that all leave, now that the ring of @end was closed and idle
	 * workers have been told to (io_wq_set_exit_on_idle()).
	 *
	 * A worker that was woken is runnable, however slow the machine: only
	 * one that sleeps limit::grace after the ring's end was left alone, or
	 * limit::glance where the kernel does not promise to tell it.
	 * This is also well before the 5 s time-out of surplus workers.
	 */
	Exit await_exit(const RingEnd &end) const;
	/*
	 * Awaits that all leave with their task, which wakes them as it ends and
	 * waits for them (io_wq_put_and_exit()), on any kernel.
	 */
	Exit await_exit() const;
	/* Awaits until @deadline that no more than @rest are left.  How many are. */
	size_t await_count(size_t rest, const Deadline &deadline) const
	{
		return wait(rest, deadline);
	}
	/* True if all sleep, or there is none. */
	bool asleep() const;
	/*
	 * Awaits that all sleep: those with work to do are blocked in it, and none
	 * was told to leave.  False if one left, or after limit::event.
	 */
	bool await_asleep() const;
	/*
	 * Has the pool do @nr requests one after the other.  How many were done
	 * by these workers, with none lost or added: a pool that is not armed
	 * has a new worker for each.
	 */
	unsigned serve(Uring &ring, Class c, unsigned nr) const;
	/* True if there is one, and all are still there after @time. */
	bool stay(milliseconds time) const;
	/* The same, and none was woken or ran meanwhile: they sleep as this is called. */
	bool sleep_on(milliseconds time) const;

private:
	struct Worker {
		pid_t pid, tid;
		Fd pidfd;

		bool gone() const;
		bool asleep() const { return thread_asleep(pid, tid); }
		std::optional<unsigned long> switches() const { return thread_switches(pid, tid); }
	};

	static WorkerSet select(pid_t pid, bool sqpoll);
	static WorkerSet await(size_t nr, pid_t pid, bool sqpoll);
	size_t wait(size_t rest, const Deadline &deadline, const RingEnd *end = nullptr) const;
	Exit leave(const Deadline &since, milliseconds limit, Exit::Fate asleep) const;

	std::vector<Worker> list;
};

#endif /* WORKERS_HPP */
