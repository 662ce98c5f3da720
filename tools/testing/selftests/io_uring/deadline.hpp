/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The one clock of the tests: every wait has a Deadline, and only a test that
 * fails ever reaches it.
 */
#ifndef DEADLINE_HPP
#define DEADLINE_HPP

#include <chrono>
#include <string>

using std::chrono::milliseconds;

/* 2 where KSFT_MACHINE_SLOW is set, but neither empty nor "no" nor "0"; else 1. */
int slowness();
/* KSFT_EVENT_LIMIT in seconds, or 10 s. */
milliseconds event_limit();

/*
 * Limits, each below the next: these waits, what the harness gives to a test
 * (harness.hpp), the time-out in settings.
 */
namespace limit {
/* For an event that a good kernel brings in milliseconds. */
inline const milliseconds event = slowness() * event_limit();
/* For a run of CRIU, which takes 0.1 s where nothing else runs. */
inline const milliseconds criu = slowness() * milliseconds(30'000);
/* For any process that a test makes, whatever happens: the time-out in settings. */
inline constexpr milliseconds life{ 300'000 };

/*
 * These do not grow with slowness(): workers look about themselves after 5 s,
 * which no machine changes, and a worker that was woken is awake on any.
 */

/* From the ring's end to the check whether its idle workers were woken. */
inline constexpr milliseconds grace{ 1'000 };
/* The same where nothing says that the kernel wakes them, so that no verdict hangs on it. */
inline constexpr milliseconds glance{ 100 };
/* For a task's end to reach its workers. */
inline constexpr milliseconds prompt{ 4'000 };
}

/*
 * A limit on a clock that stands still while the program does.  Whoever waits looks at the clock
 * every 100 ms, as poll_ms() is never more, and each look counts for 100 ms at most: a program
 * that looks later was stopped, frozen, or without a CPU, and so were its workers.
 */
class Deadline {
public:
	using clock = std::chrono::steady_clock;

	explicit Deadline(milliseconds limit);

	/*
	 * Time to wait before the next look, as poll(2) takes it: 0 when over, never
	 * negative.
	 */
	int poll_ms() const;
	bool over() const { return poll_ms() == 0; }
	/* Time spent since the deadline was set, pauses included. */
	std::chrono::microseconds spent() const;

	/* Lets @ms pass, or less when the next look comes first. */
	void back_off(int ms = 1) const;

private:
	clock::time_point start = clock::now();
	mutable clock::time_point last_look = start;
	mutable clock::duration left;
};

/* True once a byte came from @fd; false at the end of the file, or after limit::event. */
bool await_byte(int fd);

/* What comes from @fd until its writers have closed it, or limit::event has passed. */
std::string read_to_end(int fd);

/* From now on, and in children, notes what was_paused() tells. */
void watch_for_pauses();
/*
 * True if the program was stopped and continued, or a wait came back 2 s late, as with
 * a frozen cgroup.  Either interrupts what workers wait in (-EINTR, before v7.3.2 -512)
 * and makes their 5 s start anew.
 */
bool was_paused();

#endif /* DEADLINE_HPP */
