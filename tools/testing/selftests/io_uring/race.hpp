/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * New work at a chosen moment of a worker's way out, and the verdict on what
 * came of it.
 */
#ifndef RACE_HPP
#define RACE_HPP

#include <random>
#include <string>

#include "workers.hpp"

/*
 * How a request comes to io_wq_enqueue(): with IOSQE_ASYNC it shall have a
 * worker of its own (IO_WQ_WORK_CONCURRENT); one that would have blocked can
 * wait for a worker that runs.
 */
enum class Punt { concurrent, natural };

/*
 * A request that a worker does at once, and can be made again: IORING_OP_READ of
 * a file of /proc, which can neither be tried without blocking nor be polled for.
 */
class Chore {
public:
	explicit Chore(Punt punt);

	/* 0, or -errno. */
	int submit(Ring &ring);

private:
	Punt punt;
	Fd file;
	char buf[64];
};

/* What came of requests that a good kernel does at once. */
enum class Fate {
	done,
	failed, /* with an error */
	lost,   /* every worker sleeps, or has left, and nobody does them */
	late,   /* not done within limit::event, yet a worker is awake */
};

/* What a fate is called in a failure. */
const char *describe(Fate fate);

/*
 * Awaits @nr requests of class Chore.  Lost is what makes no progress in two
 * times limit::grace, with no worker awake at the end of each: a machine that
 * is merely slow has a runnable worker.  Well below the 5 s after which a
 * sleeping worker looks for work by itself.
 */
Fate await_done(Ring &ring, unsigned nr);

/*
 * A moment on a worker's way at which it is overtaken by its owner, the caller.
 *
 * Aimed, if the kernel lets us: owner and worker share a CPU, the owner has a
 * real-time priority, and a breakpoint wakes it as the worker unlocks its nth
 * spinlock.  The owner then takes the CPU the moment that the worker may be
 * preempted, whatever the speed of the machine.  From try to try, n walks
 * along the worker's way, over all that the worker does between two locks.  In
 * every other round the worker has a real-time priority, too: it goes on before
 * one that the owner has made meanwhile.
 *
 * Else timed: after a random delay, which proves less.
 */
class Moment {
public:
	/* If aimed, binds the calling thread and the workers of @ring's pool. */
	explicit Moment(Ring &ring);

	bool aimed() const { return unlock; }
	/* True while there is a moment left to try. */
	bool next();
	/* Prepares this try for @worker, which sleeps. */
	void arm(const Workers &worker);
	/* Waits for the moment, now that @worker was woken. */
	void await(const Workers &worker);

	/* How the moments are chosen, how many were tried, and where this one is. */
	std::string method() const;
	std::string tried() const;
	std::string describe() const;

private:
	/* A breakpoint of perf_event_open(2), and the buffer it needs to wake us. */
	class Trap {
	public:
		Trap() = default;
		Trap(unsigned long address, pid_t tid, unsigned nth);
		Trap(Trap &&other) noexcept;
		Trap &operator=(Trap &&other) noexcept;
		~Trap();

		explicit operator bool() const { return buffer; }
		int fd() const { return event.get(); }

	private:
		Fd event;
		void *buffer = nullptr;
	};

	/* A null pointer, or what cannot be done here, and errno says why. */
	const char *aim(Ring &ring);

	static constexpr unsigned rounds = 3;
	static constexpr unsigned variants = 3; /* of a program, that share its time */

	unsigned long unlock = 0; /* address of _raw_spin_unlock(), 0 if timed */
	std::string why_timed;
	unsigned tries = 0, round = 0, nth = 0;
	Trap trap;
	std::string stack;

	unsigned seed;
	std::minstd_rand random;
	std::chrono::nanoseconds delay{};
	Deadline budget;
};

#endif /* RACE_HPP */
