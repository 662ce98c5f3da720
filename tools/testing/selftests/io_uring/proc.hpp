/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A process and its threads, as seen in /proc. */
#ifndef PROC_HPP
#define PROC_HPP

#include <optional>
#include <string>
#include <sys/types.h>
#include <unistd.h>
#include <vector>

/*
 * The threads of @pid.  A listing ends early where a thread dies under it
 * (next_tid()): only one as long as the kernel's count before and after is whole.
 */
std::vector<pid_t> threads(pid_t pid);

/* What proc_pid_stat(5) tells of a thread. */
struct ThreadStat {
	std::string comm;
	char state = 0;
	pid_t parent = 0; /* of its process */
	unsigned long flags = 0;
};

/* Nothing if the thread is gone. */
std::optional<ThreadStat> thread_stat(pid_t pid, pid_t tid);

/*
 * True if a thread sleeps, and interruptibly.  A worker about to look for work already
 * calls itself asleep, and may be preempted right there: what is on a run queue has a
 * wchan of 0 (get_wchan()), and does not count.
 */
bool thread_asleep(pid_t pid, pid_t tid);

/*
 * How often a thread has given up its CPU, or was taken off it: the number does not
 * change while it sleeps, and nothing wakes it.  Nothing if it is gone.
 */
std::optional<unsigned long> thread_switches(pid_t pid, pid_t tid);

/*
 * To be called before thread_asleep(), and before any test, which may be another user,
 * or have no process to spare.
 */
void learn_wchan();

/* Threads: of /proc/<pid>/status, or -1. */
int thread_count(pid_t pid = getpid());

/* How many files this process has open. */
size_t open_files();
/* Closes what is open from the descriptor @first on, also where close_range(2) is refused. */
void close_files_from(int first);
/* VmSize: of /proc/self/status, in KiB, or -1. */
int address_space_kb();

/*
 * Prints all threads of the machine that are stopped or frozen, and so give up no ring, as
 * "# " lines, and how many rings the kernel is about to end (io_ring_exit_work()).
 */
void dump_halted();

/* Prints the threads and open rings of this process and its children as "# " lines. */
void dump_threads();

#endif /* PROC_HPP */
