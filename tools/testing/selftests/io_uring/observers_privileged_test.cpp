// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that has closed its last ring is charged for no worker, and no worker goes on with
 * credentials that the process has dropped.  Daemons that change their user, and whoever limits
 * processes, rely on that: a worker counts as a process from copy_process() to release_task().
 */
#include <algorithm>
#include <errno.h>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cgroup.hpp"
#include "observer.hpp"

/* Becomes a user who has no other process.  0, or -errno. */
static int become_another_user()
{
	/* A PID is not unique where there are PID namespaces. */
	static const uid_t uid = 0x7f000000U + std::random_device()() % 0xffffff;

	return become_user(uid);
}

static int try_fork()
{
	return in_child([] { return 0; });
}

TEST(rlimit_nproc_has_room_for_child)
{
	struct rlimit nproc;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = 1;
	if (become_another_user())
		SKIP(return, "%s", skip::no_other_user);
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	/* A privilege that was kept would lift the limit. */
	if (try_fork() != -EAGAIN)
		SKIP(return, "%s", skip::no_nproc_limit);
	nproc.rlim_cur = 2;
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_RELIEVED(-EAGAIN, 0, try_fork);
}

TEST(pids_max_has_room_for_child)
{
	const std::string name = "/" + unique_name();

	/* Where the controller is: of cgroup 1, and of 2. */
	for (const char *root : { "/sys/fs/cgroup/pids", "/sys/fs/cgroup" }) {
		Janitor cleanup;
		const std::string group = root + name;
		const auto remove = [&] { return rmdir(group.c_str()) == 0 || errno == ENOENT; };

		ASSERT_EQ(0, cleanup.start(remove));
		if (mkdir(group.c_str(), 0755) || put(group + "/pids.max", "2") ||
		    put(group + "/cgroup.procs", "0"))
			continue;
		ASSERT_RELIEVED(-EAGAIN, 0, try_fork);
		return;
	}
	SKIP(return, "%s", skip::no_pids_cgroup);
}

/* How many threads of this process run as another user than we do. */
static int strangers()
{
	return static_cast<int>(std::ranges::count_if(WorkerSet::now().tids(), [](pid_t tid) {
		std::ifstream status("/proc/self/task/" + std::to_string(tid) + "/status");
		constexpr std::string_view key = "Uid:";
		uid_t uid = getuid();

		for (std::string line; std::getline(status, line);)
			if (line.starts_with(key))
				uid = static_cast<uid_t>(std::stoul(line.substr(key.size())));
		return uid != getuid();
	}));
}

TEST(no_thread_runs_as_former_user)
{
	if (in_child([] { return -become_another_user(); }))
		SKIP(return, "%s", skip::no_other_user);
	ASSERT_RELIEVED(1, 0, [] { return become_another_user() ?: strangers(); });
}

TEST_HARNESS_MAIN
