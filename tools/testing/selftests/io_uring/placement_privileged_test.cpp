// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * As placement_test, for a worker that is confined to a cpuset, or whose CPU is unplugged.
 * For containers and virtual machines that are resized while they run.  Cpusets move
 * workers like other threads, and io_wq_cpu_offline() tells pools of CPUs.
 */
#include <fcntl.h>
#include <fstream>
#include <sched.h>
#include <string.h>
#include <string>
#include <sys/mount.h>
#include <sys/stat.h>

#include "janitor.hpp"
#include "promise.hpp"

namespace {

int first_cpu(const cpu_set_t &set)
{
	int cpu = 0;

	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}

/* Writes to a file of sysfs or a cgroup, in one call. */
bool put(const std::string &path, const std::string &text)
{
	const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));

	return file && write(file.get(), text.data(), text.size()) == std::ssize(text);
}

/* The first line of such a file. */
std::string words(const std::string &path)
{
	std::string line;
	std::ifstream file(path);

	std::getline(file, line);
	return line;
}

/*
 * A cgroup for this process alone, in a mount namespace of its own.  Where the controller
 * is: taking it from one version of cgroups to the other, or turning it on, would change
 * the whole machine.
 */
class Cpuset {
public:
	/* False where there can be none. */
	bool make();
	bool confine(int cpu) const
	{
		return put(dir + prefix + "cpus", std::to_string(cpu)) &&
		       put(dir + "/cgroup.procs", "0");
	}
	bool leave() const { return put(root + "/cgroup.procs", "0"); }

private:
	const std::string root = "/sys";
	const std::string dir = root + "/" + unique_name();
	std::string prefix = "/cpuset.";
	Janitor janitor;
};

/* Whether the controller is one of the first version of cgroups: ID:CONTROLLERS:PATH. */
bool cpuset_is_of_v1()
{
	std::ifstream cgroups("/proc/self/cgroup");

	for (std::string line; std::getline(cgroups, line);)
		if (line.find("cpuset") < line.rfind(':'))
			return true;
	return false;
}

bool Cpuset::make()
{
	if (unshare(CLONE_NEWNS) || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr))
		return false;
	if (cpuset_is_of_v1()) {
		if (mount("none", root.c_str(), "cgroup", 0, "cpuset,noprefix") &&
		    mount("none", root.c_str(), "cgroup", 0, "cpuset"))
			return false;
		if (access((root + "/cpus").c_str(), F_OK) == 0)
			prefix = "/";
	} else if (mount("none", root.c_str(), "cgroup2", 0, nullptr) ||
		   words(root + "/cgroup.subtree_control").find("cpuset") == std::string::npos) {
		return false;
	}
	if (janitor.start([dir = dir] { return rmdir(dir.c_str()) == 0 || errno == ENOENT; }))
		return false;
	if (mkdir(dir.c_str(), 0700))
		return false;
	/* The first version wants the nodes of memory, too. */
	put(dir + prefix + "mems", words(root + prefix + "mems"));
	return true;
}

} // namespace

/* The one worker does all, however it was moved, and leaves. */
#define ASSERT_SERVED_AND_EXIT(ring, worker)					\
do {										\
	const RingEnd end = (ring).end();					\
										\
	ASSERT_EQ(8U, (worker).serve(ring, Class::bounded, 8)) dump_threads();	\
	(ring).close();								\
	ASSERT_WORKERS_EXIT(worker, end);					\
} while (0)

TEST(confined_to_cpuset)
{
	Cpuset cpuset;
	Ring ring;

	if (geteuid() || !cpuset.make())
		SKIP(return, "%s", skip::no_cpuset);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();

	const Workers worker = Workers::now();

	ASSERT_EQ(1U, worker.count()) dump_threads();
	ASSERT_TRUE(cpuset.confine(first_cpu(allowed_cpu(1))))
		TH_LOG("cpuset: %s", strerror(errno));
	ASSERT_SERVED_AND_EXIT(ring, worker);

	/* A new pool, in the cpuset from the start. */
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();
	ASSERT_TRUE(cpuset.leave()) TH_LOG("cpuset: %s", strerror(errno));
	ASSERT_SERVED_AND_EXIT(ring, Workers::now());
}

/*
 * The worker, and the mask of those to come, are of this CPU alone.  Without it, the
 * worker may be another one, as it leaves if it is idle for 5 s where it should not be.
 */
TEST(cpu_unplugged)
{
	const cpu_set_t theirs = allowed_cpu(1);
	const std::string online =
		"/sys/devices/system/cpu/cpu" + std::to_string(first_cpu(theirs)) + "/online";
	Janitor janitor;
	Ring ring;

	if (const char *why = must_not_disturb())
		SKIP(return, "%s", why);
	/* A cpuset of the first version would lose the CPU for good. */
	if (geteuid() || words(online) != "1" || cpuset_is_of_v1())
		SKIP(return, "%s", skip::no_hotplug);
	ASSERT_EQ(0, janitor.start([=] { return put(online, "1"); }));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(theirs), &theirs));
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();
	if (!put(online, "0"))
		SKIP(return, "%s", skip::no_hotplug);

	/* First without the CPU, then as it comes back to a pool that has workers. */
	for (const bool comes_back : { false, true }) {
		if (comes_back) {
			ASSERT_EQ(0, ring.open());
		}
		ASSERT_EQ(0, serve(ring, Class::bounded, 8)) dump_threads();
		if (comes_back) {
			ASSERT_TRUE(put(online, "1"))
				TH_LOG("%s: %s", online.c_str(), strerror(errno));
			ASSERT_EQ(0, serve(ring, Class::bounded, 8)) dump_threads();
		}

		const Workers workers = Workers::now();
		const RingEnd end = ring.end();

		ASSERT_LE(1U, workers.count()) dump_threads();
		ring.close();
		ASSERT_WORKERS_EXIT(workers, end);
	}
}

TEST_HARNESS_MAIN
