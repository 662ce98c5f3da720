/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Clears away what would outlast the test that made it. */
#ifndef JANITOR_HPP
#define JANITOR_HPP

#include "child.hpp"

/*
 * A process that waits for this one to end, in whatever way, or for this object to: main()
 * sees to it that it is done before the program ends.  Out of the reach of what ends the
 * test, but for SIGKILL to each process; in a PID namespace, to its first one as well.
 */
class Janitor {
public:
	/*
	 * Has @clean called in the end, and called again as long as it returns false, until
	 * limit::event.  To be started before there is anything to clear away.  0, or -errno.
	 */
	int start(const std::function<bool()> &clean);

private:
	Process cleaner;
};

/* For a file or a group: none that exists has this name, or will. */
std::string unique_name();

#endif /* JANITOR_HPP */
