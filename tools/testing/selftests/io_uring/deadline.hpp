/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The one clock of the tests: every wait has a Deadline, and only a test that
 * fails ever reaches it.
 */
#ifndef DEADLINE_HPP
#define DEADLINE_HPP

#include <chrono>

using std::chrono::milliseconds;

/*
 * Limits, each below the next: these waits, the harness' 30 s for a test, the
 * time-out in settings.
 */
namespace limit {
/* For an event that a good kernel brings in milliseconds. */
inline constexpr milliseconds event{ 10'000 };
/* From the ring's end to the check whether its idle workers were woken. */
inline constexpr milliseconds grace{ 1'000 };
/* The same where nothing says that the kernel wakes them, so that no verdict hangs on it. */
inline constexpr milliseconds glance{ 100 };
/* For a run of CRIU, which takes 0.1 s where nothing else runs. */
inline constexpr milliseconds criu{ 30'000 };
/* For a task's end to reach its workers: before they look about themselves, after 5 s. */
inline constexpr milliseconds prompt{ 4'000 };
}

class Deadline {
public:
	using clock = std::chrono::steady_clock;

	/* @limit from now; twice that where KSFT_MACHINE_SLOW is set. */
	explicit Deadline(milliseconds limit);

	/* Time left, as poll(2) takes it: 0 when over, never negative. */
	int poll_ms() const;
	bool over() const { return poll_ms() == 0; }
	/* Time spent since the deadline was set. */
	std::chrono::microseconds spent() const;

	/* Lets @poll_ms pass, or less when the deadline comes first. */
	void back_off(int ms = 1) const;

private:
	clock::time_point start;
	clock::time_point end;
};

#endif /* DEADLINE_HPP */
