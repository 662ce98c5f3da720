/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A cgroup of the test's own. */
#ifndef CGROUP_HPP
#define CGROUP_HPP

#include <string>
#include <sys/types.h>
#include <unistd.h>

#include "janitor.hpp"

/* Writes to a file of sysfs or a cgroup, in one call.  0, or -errno. */
int put(const std::string &path, const std::string &text);
/* The first line of such a file. */
std::string words(const std::string &path);

/*
 * The file that unplugs this CPU by "0", and plugs it in again by "1".  Empty where that cannot
 * be done, or should not, as a cpuset of cgroup 1 would not get the CPU back.
 */
std::string hotplug_file(int cpu);

/*
 * A cgroup in a mount namespace of its own.  It is where the controller is: taking it
 * from one version of cgroups to the other, or turning it on, would change the whole
 * machine.
 */
class Cgroup {
public:
	/* With anybody in it, it could not be removed. */
	~Cgroup()
	{
		if (access(dir.c_str(), F_OK) == 0)
			leave();
	}

	/*
	 * Makes a cgroup that has this controller.  Cgroup 2 freezes tasks without any.
	 * All return 0, or -errno.
	 */
	int make_cpuset();
	int make_freezer();

	/* Of a cpuset: the CPUs of those in it, as "0-1".  Nobody can enter before. */
	int allow(const std::string &cpus) const { return put(dir + prefix + "cpus", cpus); }
	/* Waits until all in it are frozen. */
	int freeze() const;
	/* Whether the kernel says that they are. */
	bool frozen() const;
	int thaw() const;
	/* A process, by default this one, goes there; this one goes back to where all are. */
	int enter(pid_t pid = 0) const { return put(dir + "/cgroup.procs", std::to_string(pid)); }
	int leave() const { return put(root + "/cgroup.procs", "0"); }

private:
	int make(const std::string &controller, bool needs_controller);

	/* Where nothing is mounted, that tests need, or that is the same. */
	const std::string root = "/sys/fs";
	const std::string dir = root + "/" + unique_name();
	std::string prefix;
	bool v1 = false;
	Janitor cleanup;
};

#endif /* CGROUP_HPP */
