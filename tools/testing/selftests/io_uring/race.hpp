/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * New work at a chosen moment of a worker's way out, and the verdict on what
 * came of it.
 */
#ifndef RACE_HPP
#define RACE_HPP

#include <random>
#include <sched.h>
#include <set>
#include <string>

#include "trap.hpp"
#include "workers.hpp"

/*
 * How a request comes to io_wq_enqueue().  With IOSQE_ASYNC it shall have a worker of its own
 * (IO_WQ_WORK_CONCURRENT); one that was punted as it would have blocked may wait for a worker
 * that runs.
 */
enum class Punt { concurrent, natural };

/*
 * A request that a worker does at once, and can be made again: IORING_OP_READ of
 * a file of /proc, which can neither be tried without blocking nor be polled for.
 */
class Chore {
public:
	explicit Chore(Punt how);

	/* 0, or -errno. */
	int submit(Uring &ring);

private:
	Punt how;
	Fd file;
	char buf[64];
};

/* What came of requests that a good kernel does at once. */
enum class Completion {
	done,
	failed, /* with an error */
	lost,   /* every worker sleeps, or has left, and nobody does them */
	late,   /* not done within limit::event, yet a worker is awake */
};

/* What it is called in a failure. */
const char *describe(Completion seen);

/*
 * Awaits @nr requests of class Chore.  Lost is what makes no progress in two
 * times limit::grace, with no worker awake at the end of each: a machine that
 * is merely slow has a runnable worker.  Well below the 5 s after which a
 * sleeping worker looks for work by itself.
 */
Completion await_done(Uring &ring, unsigned nr);

/*
 * A moment on a worker's way at which it is overtaken by its owner, the caller, in one
 * of two ways.
 *
 * At locks, if the kernel allows it a breakpoint of its own and preempts itself: owner
 * and worker share a CPU, the owner has a real-time priority, and a breakpoint wakes it
 * as the worker unlocks its nth spinlock.  The owner then takes the CPU the moment that
 * the worker may be preempted, whatever the speed of the machine.  From try to try, n
 * walks along the worker's way, over all that the worker does between two locks.  In
 * every other round the worker has a real-time priority, too: it goes on before one that
 * the owner has made meanwhile.
 *
 * By the clock, if there are two CPUs: an interrupt stops the worker on the one once it
 * has run for a time, and the owner, awake on the other, sees it at once.  What comes of
 * a try says whether the time was too short or too long, and how to change it: thus it
 * stays about where the one turns into the other, which is what is to be tested.
 */
class Moment {
public:
	/* Binds the calling thread and the workers of @ring's pool to CPUs. */
	explicit Moment(Uring &ring);

	/* True while there is a moment left to try; the ring is to be open. */
	bool next();
	/* Prepares this try for @worker, which sleeps. */
	void arm(const WorkerSet &worker);
	/* Awaits the moment, now that @worker was woken.  False if it did not come. */
	bool await(const WorkerSet &worker);
	/*
	 * What came of this try: the moment was too @early, or else too late; the worker
	 * was stopped, and it was where it had to be.
	 */
	void steer(bool early, bool there);
	/*
	 * True if workers were stopped where they had to be.  A timer that is too coarse
	 * stops all of them at the same instruction, where they begin.
	 */
	bool met() const { return places.size() >= (aims_at == Aim::clock ? 8 : 1); }

	/* How many were tried, and where this one is. */
	std::string tried() const;
	std::string describe() const;

private:
	enum class Aim { none, locks, clock };

	bool aim_at_locks();
	void aim_by_clock();

	Uring &ring;
	cpu_set_t first_cpu, last_cpu;
	Aim aims_at = Aim::none;
	unsigned tries = 0, nth = 0;
	std::set<unsigned long> places;
	Trap current;
	Deadline since{ limit::event };

	/* At locks. */
	unsigned long unlock = 0; /* the address of _raw_spin_unlock() */
	unsigned round = 0;

	/* By the clock. */
	std::chrono::nanoseconds time{ 1000 };
	bool late_once = false;
	std::minstd_rand random;
};

#endif /* RACE_HPP */
