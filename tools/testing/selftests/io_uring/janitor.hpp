/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Clears away what would outlast the test that made it. */
#ifndef JANITOR_HPP
#define JANITOR_HPP

#include <functional>

#include "fd.hpp"

/*
 * A process that waits for this one to end, in whatever way.  All others that
 * tests make end with their parent.
 */
class Janitor {
public:
	/*
	 * Has @clean called in the end, and called again as long as it returns
	 * false, until limit::event.  0, or -errno.
	 */
	int start(const std::function<bool()> &clean);

private:
	Fd life;
};

#endif /* JANITOR_HPP */
