// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "cgroup.hpp"

#include <fcntl.h>
#include <fstream>
#include <sys/mount.h>
#include <sys/stat.h>

#include "deadline.hpp"
#include "fd.hpp"

bool put(const std::string &path, const std::string &text)
{
	const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));

	return file && write(file.get(), text.data(), text.size()) == std::ssize(text);
}

std::string words(const std::string &path)
{
	std::string line;
	std::ifstream file(path);

	std::getline(file, line);
	return line;
}

/* By a line of ID:CONTROLLERS:PATH. */
bool controller_is_of_v1(const std::string &controller)
{
	std::ifstream cgroups("/proc/self/cgroup");

	for (std::string line; std::getline(cgroups, line);)
		if (line.find(controller) < line.rfind(':'))
			return true;
	return false;
}

bool Cgroup::make(const std::string &controller, bool needs_controller)
{
	if (geteuid() || unshare(CLONE_NEWNS) ||
	    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr))
		return false;
	v1 = controller_is_of_v1(controller);
	prefix = "/" + controller + ".";
	if (v1) {
		if (mount("none", root.c_str(), "cgroup", 0, (controller + ",noprefix").c_str()) &&
		    mount("none", root.c_str(), "cgroup", 0, controller.c_str()))
			return false;
		if (access((root + "/cpus").c_str(), F_OK) == 0)
			prefix.erase(1);
	} else if (mount("none", root.c_str(), "cgroup2", 0, nullptr) ||
		   (needs_controller && words(root + "/cgroup.subtree_control").find(controller) ==
						std::string::npos)) {
		return false;
	}
	if (cleanup.start([dir = dir] { return rmdir(dir.c_str()) == 0 || errno == ENOENT; }))
		return false;
	return mkdir(dir.c_str(), 0700) == 0;
}

bool Cgroup::make_cpuset()
{
	if (!make("cpuset", true))
		return false;
	/* The first version wants the nodes of memory, too. */
	put(dir + prefix + "mems", words(root + prefix + "mems"));
	return true;
}

bool Cgroup::make_freezer()
{
	return make("freezer", false);
}

bool Cgroup::freeze() const
{
	const Deadline deadline(limit::event);

	if (v1) {
		if (!put(dir + prefix + "state", "FROZEN"))
			return false;
		while (words(dir + prefix + "state") != "FROZEN" && !deadline.over())
			deadline.back_off();
		return !deadline.over();
	}
	if (!put(dir + "/cgroup.freeze", "1"))
		return false;

	const auto frozen = [&] {
		std::ifstream events(dir + "/cgroup.events");

		for (std::string line; std::getline(events, line);)
			if (line == "frozen 1")
				return true;
		return false;
	};

	while (!frozen() && !deadline.over())
		deadline.back_off();
	return !deadline.over();
}

bool Cgroup::thaw() const
{
	return v1 ? put(dir + prefix + "state", "THAWED") : put(dir + "/cgroup.freeze", "0");
}

int first_cpu(const cpu_set_t &set)
{
	int cpu = 0;

	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}
