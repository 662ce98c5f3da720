// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "race.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "cpus.hpp"
#include "kernel.hpp"

Chore::Chore(Punt how) : how(how), file(Fd::from(open("/proc/self/comm", O_RDONLY | O_CLOEXEC))) {}

int Chore::submit(Uring &ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_read(sqe, file.get(), buf, sizeof(buf), 0);
	if (how == Punt::concurrent)
		sqe->flags |= IOSQE_ASYNC;

	const int submitted = io_uring_submit(ring.get());

	return submitted < 0 ? submitted : submitted == 1 ? 0 : -EIO;
}

/* Awaits one completion for limit::grace.  What it brought, or late. */
static Completion reap_one(Uring &ring)
{
	struct io_uring_cqe *cqe;

	if (ring.wait(&cqe, Deadline(limit::grace)))
		return Completion::late;

	const bool done = cqe->res > 0;

	io_uring_cqe_seen(ring.get(), cqe);
	return done ? Completion::done : Completion::failed;
}

const char *describe(Completion seen)
{
	switch (seen) {
	case Completion::done:
		return "done";
	case Completion::failed:
		return "a request failed";
	case Completion::lost:
		return "a request is stranded, as no worker is awake to do it";
	case Completion::late:
		return "a request is not done, though a worker is awake";
	}
	return "?";
}

Completion await_done(Uring &ring, unsigned nr)
{
	milliseconds waited{};
	unsigned quiet = 0;

	while (nr) {
		const Completion seen = reap_one(ring);

		if (seen == Completion::done) {
			nr--;
			quiet = 0;
			continue;
		}
		if (seen == Completion::failed)
			return seen;
		quiet = WorkerSet::now().asleep() ? quiet + 1 : 0;
		/* Whoever slept may have just done it. */
		if (quiet == 2 && !io_uring_cq_ready(ring.get()))
			return Completion::lost;
		waited += limit::grace;
		if (waited >= limit::event)
			return Completion::late;
	}
	return Completion::done;
}

/* Binds the calling thread to CPU @own, and its workers, by way of @ring, to @theirs. */
static bool place(Uring &ring, const cpu_set_t &own, const cpu_set_t &theirs)
{
	return sched_setaffinity(0, sizeof(own), &own) == 0 &&
	       io_uring_register_iowq_aff(ring.get(), sizeof(theirs), &theirs) == 0;
}

static bool set_realtime(pid_t tid, int priority)
{
	const struct sched_param param = { .sched_priority = priority };

	/* Not for workers to inherit. */
	return sched_setscheduler(tid, priority ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER,
				  &param) == 0;
}

Moment::Moment(Uring &ring)
	: ring(ring), first_cpu(allowed_cpu(0)), last_cpu(allowed_cpu(CPU_SETSIZE))
{
	if (!aim_at_locks())
		aim_by_clock();
}

bool Moment::aim_at_locks()
{
	unlock = symbol_address("_raw_spin_unlock");
	if (!unlock || !Trap::breakpoint(unlock, 0, 1) || !place(ring, last_cpu, last_cpu) ||
	    !set_realtime(0, 2))
		return false;
	aims_at = Aim::locks;
	return true;
}

void Moment::aim_by_clock()
{
	aims_at = Aim::none;
	if (CPU_EQUAL(&first_cpu, &last_cpu) || !Trap::clock(0, time) ||
	    !place(ring, first_cpu, last_cpu))
		return;
	/* It goes without, but then others may get between the two. */
	set_realtime(0, 2);
	aims_at = Aim::clock;
}

bool Moment::next()
{
	/* The first lock stopped nobody: this kernel does not preempt itself. */
	if (aims_at == Aim::locks && round && places.empty())
		aim_by_clock();
	if (aims_at == Aim::none || (aims_at == Aim::locks && round == 3) ||
	    (aims_at == Aim::clock && (nth == 100 || time > limit::grace)))
		return false;
	tries++;
	nth++;
	return true;
}

void Moment::arm(const WorkerSet &worker)
{
	if (aims_at == Aim::locks) {
		set_realtime(worker.tid(), static_cast<int>(round % 2));
		current = Trap::breakpoint(unlock, worker.tid(), nth);
	} else {
		set_realtime(worker.tid(), 1);
		current = Trap::clock(worker.tid(), time);
	}
}

bool Moment::await(const WorkerSet &worker)
{
	const Deadline deadline(limit::event);
	bool stopped;

	/* That the worker sleeps is no event. */
	if (aims_at == Aim::clock) {
		do {
			const Deadline glance(milliseconds(1));

			/* For some microseconds only: there is no time for a system call. */
			do
				stopped = current.sprung();
			while (!stopped && !glance.over());
		} while (!stopped && worker.alive() && !worker.asleep() && !deadline.over());
		return stopped;
	}

	struct pollfd p = { .fd = current.fd(), .events = POLLIN, .revents = 0 };

	while (!worker.asleep() && !deadline.over())
		if (poll(&p, 1, 1))
			break;
	stopped = current.sprung() && worker.alive() && !worker.asleep();
	if (stopped) {
		places.insert(nth);
	} else {
		nth = 0;
		round++;
	}
	return stopped;
}

void Moment::steer(bool early, bool there)
{
	if (aims_at != Aim::clock)
		return;
	if (const auto stack = current.addresses(); there && !stack.empty())
		places.insert(stack.front());
	late_once |= !early;
	/* It is doubled until it was too long once; then it goes to and fro by random steps. */
	const std::chrono::nanoseconds step(
		late_once ? time.count() * static_cast<long>(random() % 128) / 1024 : time.count());

	time += early ? step : -step;
}

std::string Moment::tried() const
{
	return std::to_string(tries) + " tries in " +
	       std::to_string(std::chrono::duration_cast<milliseconds>(since.spent()).count()) +
	       " ms";
}

std::string Moment::describe() const
{
	const std::string stack = current.stack();

	return "in try " + std::to_string(tries) + ", as the worker " +
	       (aims_at == Aim::locks ? "let go of lock number " + std::to_string(nth)
				      : "had run for " + std::to_string(time.count()) + " ns") +
	       (stack.empty() ? "" : ":\n" + stack);
}
