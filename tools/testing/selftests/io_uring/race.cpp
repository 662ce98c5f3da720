// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "race.hpp"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "environment.hpp"
#include "kernel.hpp"

Chore::Chore(Punt punt) : punt(punt), file(open("/proc/self/comm", O_RDONLY | O_CLOEXEC)) {}

int Chore::submit(Ring &ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_read(sqe, file.get(), buf, sizeof(buf), 0);
	if (punt == Punt::concurrent)
		sqe->flags |= IOSQE_ASYNC;

	const int submitted = io_uring_submit(ring.get());

	return submitted < 0 ? submitted : submitted == 1 ? 0 : -EIO;
}

/* Awaits one completion for limit::grace.  What it brought, or late. */
static Fate reap_one(Ring &ring)
{
	const Deadline deadline(limit::grace);
	struct io_uring_cqe *cqe = nullptr;

	/* Also when over, as it may have come since. */
	do {
		const int ms = deadline.poll_ms();
		struct __kernel_timespec ts = { .tv_sec = ms / 1000,
						.tv_nsec = ms % 1000 * 1'000'000L };

		if (io_uring_wait_cqe_timeout(ring.get(), &cqe, &ts) == 0) {
			const Fate fate = cqe->res > 0 ? Fate::done : Fate::failed;

			io_uring_cqe_seen(ring.get(), cqe);
			return fate;
		}
	} while (!deadline.over());
	return Fate::late;
}

const char *describe(Fate fate)
{
	switch (fate) {
	case Fate::done:
		return "done";
	case Fate::failed:
		return "a request failed";
	case Fate::lost:
		return "a request is stranded, as no worker is awake to do it";
	case Fate::late:
		return "a request is not done, though a worker is awake";
	}
	return "?";
}

Fate await_done(Ring &ring, unsigned nr)
{
	milliseconds waited{};
	unsigned quiet = 0;

	while (nr) {
		const Fate fate = reap_one(ring);

		if (fate == Fate::done) {
			nr--;
			quiet = 0;
			continue;
		}
		if (fate == Fate::failed)
			return fate;
		quiet = Workers::now().asleep() ? quiet + 1 : 0;
		/* Whoever slept may have just done it. */
		if (quiet == 2 && !io_uring_cq_ready(ring.get()))
			return Fate::lost;
		waited += limit::grace;
		if (waited >= limit::event)
			return Fate::late;
	}
	return Fate::done;
}

/*
 * Read before main(), so that a bad one ends the program.  The most that the time-out
 * of three variants leaves room for.
 */
static const unsigned seconds = env_number("KSFT_RACE_SECONDS", 10, 1, 450);
static const unsigned first_seed =
	env_number("KSFT_RACE_SEED", static_cast<unsigned>(time(nullptr)), 0, UINT_MAX);

/* Binds the calling thread and its workers, by way of @ring, to one CPU.  0, or -errno. */
static int share_cpu(Ring &ring)
{
	cpu_set_t allowed, one;
	int cpu = CPU_SETSIZE;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	while (!CPU_ISSET(--cpu, &allowed))
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return -errno;
	return io_uring_register_iowq_aff(ring.get(), sizeof(one), &one);
}

static size_t buffer_size()
{
	return 2 * static_cast<size_t>(getpagesize());
}

Moment::Trap::Trap(unsigned long address, pid_t tid, unsigned nth)
{
	struct perf_event_attr attr = {};

	attr.type = PERF_TYPE_BREAKPOINT;
	attr.size = sizeof(attr);
	attr.bp_type = HW_BREAKPOINT_X;
	attr.bp_addr = address;
	attr.bp_len = sizeof(long);
	attr.sample_period = nth;
	attr.wakeup_events = 1;
	attr.exclude_user = 1;
	event = Fd(static_cast<int>(
		syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC)));
	if (!event)
		return;

	void *map = mmap(nullptr, buffer_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd(), 0);

	if (map != MAP_FAILED)
		buffer = map;
}

Moment::Trap::Trap(Trap &&other) noexcept
	: event(std::move(other.event)), buffer(std::exchange(other.buffer, nullptr))
{
}

Moment::Trap &Moment::Trap::operator=(Trap &&other) noexcept
{
	std::swap(event, other.event);
	std::swap(buffer, other.buffer);
	return *this;
}

Moment::Trap::~Trap()
{
	if (buffer)
		munmap(buffer, buffer_size());
}

Moment::Moment(Ring &ring)
	: seed(first_seed), random(seed), budget(milliseconds(1000 * seconds) / variants)
{
	if (const char *what = aim(ring)) {
		unlock = 0;
		why_timed = std::string(what) + ": " + strerror(errno);
	}
}

const char *Moment::aim(Ring &ring)
{
	const struct sched_param above_worker = { .sched_priority = 2 };

	errno = EPERM;
	unlock = symbol_address("_raw_spin_unlock");
	if (!unlock)
		return "_raw_spin_unlock in /proc/kallsyms";
	if (!Trap(unlock, 0, 1))
		return "perf_event_open() of a breakpoint in the kernel";
	errno = -share_cpu(ring);
	if (errno)
		return "a CPU to share";
	/* Not for the workers to inherit. */
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &above_worker))
		return "sched_setscheduler(SCHED_FIFO)";
	return nullptr;
}

bool Moment::next()
{
	if (aimed() ? round == rounds : budget.over())
		return false;
	tries++;
	nth++;
	delay = std::chrono::nanoseconds(random() % 200'000);
	return true;
}

void Moment::arm(const Workers &worker)
{
	stack.clear();
	if (!aimed())
		return;

	const bool first = round % 2;
	const struct sched_param priority = { .sched_priority = first };

	sched_setscheduler(worker.tid(), first ? SCHED_FIFO : SCHED_OTHER, &priority);
	trap = Trap(unlock, worker.tid(), nth);
}

void Moment::await(const Workers &worker)
{
	const Deadline deadline(limit::event);

	if (!aimed()) {
		const auto end = Deadline::clock::now() + delay;

		/* A sleep would leave the CPU for longer than the worker needs. */
		while (Deadline::clock::now() < end)
			;
		return;
	}

	struct pollfd p = { .fd = trap.fd(), .events = POLLIN, .revents = 0 };

	/* It says POLLHUP as the worker ends; that it sleeps is no event. */
	while (poll(&p, 1, 1) == 0 && !worker.asleep() && !deadline.over())
		;
	if (p.revents & POLLIN && worker.alive() && !worker.asleep()) {
		stack = kernel_stack(worker.tid());
		return;
	}
	if (nth == 1) {
		const struct sched_param none = {};

		/* Nobody stopped it: as without CONFIG_PREEMPTION. */
		unlock = 0;
		why_timed = "the kernel does not preempt itself";
		sched_setscheduler(0, SCHED_OTHER, &none);
	}
	nth = 0;
	round++;
}

std::string Moment::method() const
{
	if (aimed())
		return "stops the worker at each of its spin_unlock()";
	return "waits at random, which proves less; KSFT_RACE_SEED=" + std::to_string(seed) + " (" +
	       why_timed + ")";
}

std::string Moment::tried() const
{
	return std::to_string(tries) + " tries in " +
	       std::to_string(std::chrono::duration_cast<milliseconds>(budget.spent()).count()) +
	       " ms";
}

std::string Moment::describe() const
{
	if (!aimed())
		return "in " + tried() + ", after a delay of " + std::to_string(delay.count()) +
		       " ns";
	return "in " + tried() + ", at spin_unlock() number " + std::to_string(nth) +
	       " of the worker" + (stack.empty() ? "" : ":\n" + stack);
}
