// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "pause.hpp"

#include <atomic>
#include <optional>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "child.hpp"
#include "deadline.hpp"
#include "proc.hpp"

namespace {

pid_t sentry = -1;
std::optional<unsigned long> sound_sleep;
std::atomic<bool> continued;

/*
 * How often the sentry has gone to sleep.  It has to sleep now: who is continued or thawed runs
 * at the same time, and may be here before it.
 */
std::optional<unsigned long> sentry_sleeps()
{
	const Deadline deadline(limit::event);

	while (thread_stat(sentry, sentry) && !thread_asleep(sentry, sentry) && !deadline.over())
		deadline.back_off();
	return thread_switches(sentry, sentry);
}

} // namespace

void post_sentry()
{
	/* Ends with main(). */
	static Process sleeper;

	sleeper.start([](Process &) {
		prctl(PR_SET_NAME, "sentry");
		/* No freezer of any kernel lets it sleep on here, unlike in poll(2). */
		return pause();
	});
	sentry = sleeper.pid();
}

void watch_for_pauses()
{
	struct sigaction note = {};

	/* The test alone may be stopped, without the sentry. */
	note.sa_handler = [](int) { continued = true; };
	note.sa_flags = SA_RESTART;
	sigaction(SIGCONT, &note, nullptr);
	if (!sound_sleep)
		sound_sleep = sentry_sleeps();
}

bool was_paused()
{
	if (continued || was_late())
		return true;

	const auto sleeps = sentry_sleeps();

	return sleeps && sleeps != sound_sleep;
}
