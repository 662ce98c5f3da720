/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A process of the test's own, told what to do step by step. */
#ifndef CHILD_HPP
#define CHILD_HPP

#include <functional>
#include <sys/types.h>

#include "deadline.hpp"
#include "fd.hpp"

/*
 * It ends with the test, as main() sees to that at fork().  What it runs must not
 * assert, as the harness may lose that: it tells by its exit status.
 */
class Child {
public:
	Child() = default;
	Child(const Child &) = delete;
	~Child();

	/* Forks.  The child ends with what @run returns.  0, or -errno. */
	int start(const std::function<int(Child &)> &run);
	pid_t pid() const { return child; }

	/* To be called by the child: becomes another program that sleeps.  -errno. */
	static int become_another();
	/* To be called by the child: a step is done, and it waits for go(). */
	void step();
	/* Lets it go on.  0, or -errno. */
	int go();
	/* True once a step is done; false if it ended before, or after limit::event. */
	bool await_step();

	/* Sends it a signal.  0, or -errno. */
	int signal(int sig) const;
	/*
	 * What waitpid(2) tells of it once it ended, or with WUNTRACED was stopped;
	 * or -1 after limit::event.
	 */
	int await_end(int options = 0);

private:
	Pipe done, told;
	pid_t child = -1;
};

#endif /* CHILD_HPP */
