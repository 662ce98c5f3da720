/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A cgroup of the test's own. */
#ifndef CGROUP_HPP
#define CGROUP_HPP

#include <sched.h>
#include <string>
#include <sys/types.h>
#include <unistd.h>

#include "janitor.hpp"

/* Writes to a file of sysfs or a cgroup, in one call. */
bool put(const std::string &path, const std::string &text);
/* The first line of such a file. */
std::string words(const std::string &path);

/* Whether this controller is one of the first version of cgroups. */
bool controller_is_of_v1(const std::string &controller);

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

	/* False where there can be none.  The thawing of tasks needs no controller in v2. */
	bool make_cpuset();
	bool make_freezer();

	/* Of a cpuset: the CPUs of those in it, as "0-1".  Until this is done none can be. */
	bool allow(const std::string &cpus) const { return put(dir + prefix + "cpus", cpus); }
	bool freeze() const;
	bool thaw() const;
	/* A process, by default this one, goes there; this one goes back to where all are. */
	bool enter(pid_t pid = 0) const { return put(dir + "/cgroup.procs", std::to_string(pid)); }
	bool leave() const { return put(root + "/cgroup.procs", "0"); }

private:
	bool make(const std::string &controller, bool needs_controller);

	/* Where nothing is mounted, that tests need, or that is the same. */
	const std::string root = "/sys/fs";
	const std::string dir = root + "/" + unique_name();
	std::string prefix;
	bool v1 = false;
	Janitor cleanup;
};

int first_cpu(const cpu_set_t &set);

#endif /* CGROUP_HPP */
