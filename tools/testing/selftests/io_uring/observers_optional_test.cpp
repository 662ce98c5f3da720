// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * As observers_test, for observers that not every system has: keyrings, procps.  A worker
 * that stayed would keep keyctl_session_to_parent() from a shell that loads a library, and
 * puzzle who debugs the process.
 */
#include <algorithm>
#include <errno.h>
#include <linux/keyctl.h>
#include <string>
#include <sys/syscall.h>

#include "observer.hpp"

/* 0 if a child may give its parent, this process, a session keyring; else an errno. */
static int give_session()
{
	return in_child([] {
		const bool given =
			syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) >= 0 &&
			syscall(SYS_keyctl, KEYCTL_SESSION_TO_PARENT) == 0;

		return given ? 0 : errno;
	});
}

TEST(child_gives_its_session_keyring)
{
	/* It may be forbidden to begin with, as where the user is changed in part. */
	if (give_session())
		SKIP(return, "%s", skip::no_keyrings);
	ASSERT_RELIEVED(EPERM, 0, give_session);
}

/* How many threads of this process ps(1) lists, or -1. */
static int threads_by_ps()
{
	const std::string self = std::to_string(getpid());
	Process ps;

	if (ps.start([&](Process &) { return execute({ "ps", "-T", "-o", "tid=", "-p", self }); }))
		return -1;
	const std::string lines = ps.output();

	return ps.await_result() ? -1 : static_cast<int>(std::ranges::count(lines, '\n'));
}

TEST(ps_lists_no_worker)
{
	if (threads_by_ps() != 1)
		SKIP(return, "%s", skip::no_procps);
	ASSERT_RELIEVED(2, 1, threads_by_ps);
}

TEST_HARNESS_MAIN
