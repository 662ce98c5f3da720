/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Processes of the test's own: when they end, and what they are told to do. */
#ifndef CHILD_HPP
#define CHILD_HPP

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "deadline.hpp"
#include "fd.hpp"

/*
 * To be called first in main().  From then on each process that is forked dies with its
 * parent, and after limit::life at the latest.  Orphans become children of this process, which
 * reaps them at exit(), so that none is left to PID 1.
 */
void look_after_children();

/*
 * Has this process killed as its parent ends.  To be called again after its credentials
 * changed, as that clears the signal (commit_creds()).
 */
void die_with_parent();

/* Ends this process after limit::life by an alarm, which lasts through execve(2). */
void end_by_itself();

/*
 * Becomes the user @uid, as daemons do, and gives up all capabilities, as securebits(7) may keep
 * some.  0, or -errno where that is forbidden.
 */
int become_user(uid_t uid);
inline constexpr uid_t nobody = 65534;

/*
 * A child process that is told what to do step by step.  What it runs must not assert, as the
 * harness may miss that, and tells by its exit status what went wrong.  The child's standard
 * streams belong to this class, so that the output of the test ends with the test.
 */
class Process {
public:
	Process() = default;
	Process(Process &&other) noexcept;
	~Process();

	/* Opens the pipes.  0, or -errno. */
	int open();
	/* Opens the pipes, and forks.  The child ends with what @run returns.  0, or -errno. */
	int start(const std::function<int(Process &)> &run);
	/*
	 * The same by vfork(2), after open(): the child shares the memory, and the caller waits
	 * for its end, while another thread or process tells the child what to do.
	 */
	int run_in_vfork(const std::function<int(Process &)> &run);
	/* Lets it outlive this object. */
	void release() { child = -1; }
	/* Takes another child, as what CRIU restored. */
	void adopt(pid_t pid) { child = pid; }
	pid_t pid() const { return child; }

	/* To be called by the child: a step is done, and it waits for go(). */
	void step();
	/* The same, but returns false where step() ends the child: its parent has ended. */
	bool await_go();
	/*
	 * To be called by the child: becomes another program, which does one more step.  That
	 * is this program again, as it is the only one that is there for sure.
	 */
	[[noreturn]] static void become_another();
	/* In main(): whether this is the other program.  If so, it ends with run_another(). */
	static bool is_another(char **argv);
	static int run_another();

	/* Lets it go on.  0, or -errno. */
	int go();
	/* True once a step is done; false if it ended before, or after limit::event. */
	bool await_step();

	/* Sends it a signal.  0, or -errno. */
	int signal(int sig) const;
	/*
	 * What waitpid(2) tells of it once it ended, or with WUNTRACED was stopped;
	 * or -1 after @limit.
	 */
	int await_end(int options = 0, milliseconds limit = limit::event);
	/* What its @run returned, 0 to 255; or -1 if it was killed, or after @limit. */
	int await_result(milliseconds limit = limit::event);

	/* What it wrote to its standard output until that was closed, or limit::event. */
	std::string output() { return read_to_end(done.rd.get()); }

private:
	int enter(const std::function<int(Process &)> &run) noexcept;

	PipeEnds done, told;
	pid_t child = -1;
};

/* What @run() returns in a child, 0 to 255; -errno without a child, -1 if it died. */
int in_child(const std::function<int()> &run);

/* To be called by a child: executes @command, found in the PATH.  127 where it cannot. */
int execute(std::vector<std::string> command);

#endif /* CHILD_HPP */
