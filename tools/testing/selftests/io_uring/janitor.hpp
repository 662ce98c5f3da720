/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Clears away what would outlast the test that made it. */
#ifndef JANITOR_HPP
#define JANITOR_HPP

#include "child.hpp"

/*
 * A process that cleans up when this process ends, in whatever way, or this object does.  main()
 * sees to it that the cleaning is done before the program ends.  What ends the test does not
 * reach it, except SIGKILL to each process, or to the first one of the PID namespace.
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

/* A name for a file or a cgroup that nothing else has, or will have. */
std::string unique_name();

#endif /* JANITOR_HPP */
