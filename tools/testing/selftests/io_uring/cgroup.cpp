// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "cgroup.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fstream>
#include <sys/mount.h>
#include <sys/stat.h>

#include "deadline.hpp"
#include "fd.hpp"

int put(const std::string &path, const std::string &text)
{
	const Fd file = Fd::from(open(path.c_str(), O_WRONLY | O_CLOEXEC));

	if (!file)
		return file.error();

	const ssize_t written = write(file.get(), text.data(), text.size());

	if (written < 0)
		return -errno;
	return written == std::ssize(text) ? 0 : -EIO;
}

std::string words(const std::string &path)
{
	std::string line;
	std::ifstream file(path);

	std::getline(file, line);
	return line;
}

/* Whether the controller is one of cgroup 1, by a line of ID:CONTROLLERS:PATH. */
static bool controller_is_of_v1(const std::string &controller)
{
	std::ifstream cgroups("/proc/self/cgroup");

	for (std::string line; std::getline(cgroups, line);)
		if (line.find(controller) < line.rfind(':'))
			return true;
	return false;
}

std::string hotplug_file(int cpu)
{
	std::string file = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online";

	if (geteuid() || words(file) != "1" || controller_is_of_v1("cpuset"))
		return {};
	return file;
}

int Cgroup::make(const std::string &controller, bool needs_controller)
{
	if (geteuid())
		return -EPERM;
	if (unshare(CLONE_NEWNS) || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr))
		return -errno;
	v1 = controller_is_of_v1(controller);
	prefix = "/" + controller + ".";
	if (v1) {
		if (mount("none", root.c_str(), "cgroup", 0, (controller + ",noprefix").c_str()) &&
		    mount("none", root.c_str(), "cgroup", 0, controller.c_str()))
			return -errno;
		if (access((root + "/cpus").c_str(), F_OK) == 0)
			prefix.erase(1);
	} else {
		if (mount("none", root.c_str(), "cgroup2", 0, nullptr))
			return -errno;
		const std::string there = words(root + "/cgroup.subtree_control");

		if (needs_controller && there.find(controller) == std::string::npos)
			return -ENOENT;
	}
	/* What is frozen does not even die. */
	if (const int err = cleanup.start([dir = dir, state = dir + prefix + "state"] {
		    put(state, "THAWED");
		    put(dir + "/cgroup.freeze", "0");
		    return rmdir(dir.c_str()) == 0 || errno == ENOENT;
	    }))
		return err;
	return mkdir(dir.c_str(), 0700) ? -errno : 0;
}

int Cgroup::make_cpuset()
{
	if (const int err = make("cpuset", true))
		return err;
	/* The first version wants the nodes of memory, too; the second may do without. */
	const int err = put(dir + prefix + "mems", words(root + prefix + "mems"));

	return v1 ? err : 0;
}

int Cgroup::make_freezer()
{
	return make("freezer", false);
}

bool Cgroup::frozen() const
{
	if (v1)
		return words(dir + prefix + "state") == "FROZEN";

	std::ifstream events(dir + "/cgroup.events");

	for (std::string line; std::getline(events, line);)
		if (line == "frozen 1")
			return true;
	return false;
}

int Cgroup::freeze() const
{
	const Deadline deadline(limit::event);

	if (const int err =
		    v1 ? put(dir + prefix + "state", "FROZEN") : put(dir + "/cgroup.freeze", "1"))
		return err;
	while (!frozen()) {
		if (deadline.over())
			return -ETIME;
		deadline.back_off();
	}
	return 0;
}

int Cgroup::thaw() const
{
	return v1 ? put(dir + prefix + "state", "THAWED") : put(dir + "/cgroup.freeze", "0");
}
