// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who looks at a process that has closed its last ring sees no worker, and no worker is in
 * anybody's way: not in system calls for single-threaded callers, in counts of threads, nor in
 * files that only the worker would still hold open.  That matters to all who use io_uring without
 * knowing it, in a library.  The worker leaves the thread group by io_wq_exit_start() and
 * do_exit().
 *
 * Here are the observers that everybody has everywhere.  See observers_optional_test,
 * observers_privileged_test and namespaces_test for others.
 */
#include <errno.h>
#include <fstream>
#include <poll.h>
#include <sched.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>

#include "observer.hpp"

FIXTURE(observer) {};
FIXTURE_SETUP(observer) {}
FIXTURE_TEARDOWN(observer) {}

FIXTURE_VARIANT(observer)
{
	int disturbed;
	int relieved;
	int (*look)();
};

/* To unshare what nobody shares changes nothing (check_unshare_flags()). */
FIXTURE_VARIANT_ADD(observer, unshare_thread)
{
	-EINVAL, 0, [] { return unshare(CLONE_THREAD) ? -errno : 0; }
};
FIXTURE_VARIANT_ADD(observer, unshare_sighand)
{
	-EINVAL, 0, [] { return unshare(CLONE_SIGHAND) ? -errno : 0; }
};
FIXTURE_VARIANT_ADD(observer, unshare_vm)
{
	-EINVAL, 0, [] { return unshare(CLONE_VM) ? -errno : 0; }
};
FIXTURE_VARIANT_ADD(observer, threads_in_status)
{
	2, 1, [] { return thread_count(); }
};
FIXTURE_VARIANT_ADD(observer, num_threads_in_stat)
{
	2, 1, [] {
		constexpr int num_threads = 20; /* proc_pid_stat(5) */
		std::ifstream stat("/proc/self/stat");
		std::string field;

		for (int i = 0; i < num_threads; i++)
			stat >> field;
		return atoi(field.c_str());
	}
};
FIXTURE_VARIANT_ADD(observer, links_of_task_directory)
{
	4, 3, [] {
		struct stat st;

		return stat("/proc/self/task", &st) ? -errno : static_cast<int>(st.st_nlink);
	}
};

TEST_F(observer, sees_no_worker)
{
	/* As there is no ring yet, nothing but seccomp can forbid this. */
	if (variant->look() < 0)
		SKIP(return, "%s", skip::no_unshare);
	ASSERT_RELIEVED(variant->disturbed, variant->relieved, variant->look);
}

/* As unshare(CLONE_FILES), which Docker forbids.  0, or -errno. */
static int unshare_files()
{
	return close_range(~0U, ~0U, CLOSE_RANGE_UNSHARE) ? -errno : 0;
}

/*
 * With a table of files that is shared no more, a worker stays behind with the table of
 * old, and keeps open what is closed in the new one.
 * The events that the reader of a pipe sees as the writer closes it so, or -errno.
 */
static int close_unshared()
{
	PipeEnds pipe;
	struct pollfd reader = {};

	if (const int err = pipe.open())
		return err;
	if (const int err = unshare_files())
		return err;
	pipe.wr.close();
	reader.fd = pipe.rd.get();
	return poll(&reader, 1, 0) < 0 ? -errno : reader.revents;
}

TEST(closed_file_is_not_held)
{
	Uring ring;

	if (in_child([] { return -unshare_files(); }))
		SKIP(return, "%s", skip::no_unshare);

	/* In a child, as the worker holds even its ring this way, until the child ends. */
	ASSERT_EQ(0, in_child([&] {
		return ring.open() || serve(ring, Class::unbounded) || close_unshared();
	}))
	{
		TH_LOG("nothing is held while the worker is there");
	}

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, serve(ring, Class::unbounded));
	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
	ASSERT_EQ(POLLHUP, close_unshared());
}

TEST_HARNESS_MAIN
