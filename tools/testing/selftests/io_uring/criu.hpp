/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* CRIU, run so that it can neither hang nor leave anything behind. */
#ifndef CRIU_HPP
#define CRIU_HPP

#include <string>
#include <sys/types.h>
#include <vector>

#include "fd.hpp"

/*
 * Takes this program, run with @argv, into PID and mount namespaces of its own, as
 * unshare -pfm --kill-child --mount-proc does.  Whatever is stopped, traced or restored ends
 * with the namespace, the namespace with its first process, and that with its parent.  In the
 * namespace, PIDs are free to be restored.
 * Returns a null pointer in the namespace, or outside, a text of namespace skip that says why
 * it cannot be made.
 */
const char *enter_own_namespaces(char **argv);

/* Whether there is a command criu, or what CRIU in the environment names. */
bool criu_installed();

/*
 * A checkpoint of one process tree; its images are gone with this process.  What CRIU
 * complains about as it fails is printed as "# " lines.
 */
class Checkpoint {
public:
	/* 0, or -errno. */
	int open();
	/*
	 * As criu(8) does, and with its status; or -ETIME if it had to be killed
	 * after limit::criu, which lets go of @pid.
	 */
	int dump(pid_t pid, bool leave_running = false);
	/* The same for a first pass over the memory, while @pid goes on. */
	int pre_dump(pid_t pid);
	/* The process is a child of this one again, and has the PID of old. */
	int restore();

private:
	int run(std::vector<std::string> args);
	void explain() const;

	Fd images;
};

/*
 * What a child does that is to be dumped.  It becomes the leader of a session, with so many
 * threads; lets go of what CRIU would have to share with others, which its parent sees by the end
 * of its output; and waits for SIGUSR1.
 */
void become_victim(unsigned threads = 1);
void let_go();
void await_sigusr1();

/* Whether CRIU can dump and restore a process that knows no ring; and pre-dump it. */
bool criu_works();
bool criu_pre_dumps();

#endif /* CRIU_HPP */
