// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "criu.hpp"

#include <errno.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "deadline.hpp"

int enter_own_namespaces(char **argv)
{
	int status;

	if (getpid() == 1)
		return 0;
	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		return -errno;
	const pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child > 0) {
		while (waitpid(child, &status, 0) != child) {
		}
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	/* Executed anew, as CRIU looks files up by their mount. */
	const std::string exe = std::filesystem::read_symlink("/proc/self/exe");

	if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
	    mount("proc", "/proc", "proc", 0, nullptr) == 0)
		execv(exe.c_str(), argv);
	return -errno;
}

void let_go_of_streams()
{
	const int null = open("/dev/null", O_RDWR);

	if (null < 0)
		return;
	for (const int fd : { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO })
		dup2(null, fd);
	close(null);
}

/* Runs it with @args, and without output.  Its status, or -ETIME. */
static int run_criu(std::vector<std::string> args)
{
	const Deadline deadline(limit::criu);
	std::vector<char *> argv;
	int status;

	/* CRIU may name a loader and its arguments as well. */
	args.insert(args.begin(), { "sh", "-c", "exec ${CRIU:-criu} \"$@\"", "criu" });
	argv.reserve(args.size() + 1);
	for (std::string &arg : args)
		argv.push_back(arg.data());
	argv.push_back(nullptr);

	const pid_t criu = fork();

	if (criu < 0)
		return -errno;
	if (criu == 0) {
		let_go_of_streams();
		execv("/bin/sh", argv.data());
		_exit(127);
	}

	const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, criu, 0)));
	struct pollfd p = { .fd = pidfd.get(), .events = POLLIN, .revents = 0 };

	while (!deadline.over() && poll(&p, 1, deadline.poll_ms()) != 1) {
	}
	if (!p.revents)
		kill(criu, SIGKILL);
	waitpid(criu, &status, 0);
	if (!p.revents)
		return -ETIME;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

bool criu_installed()
{
	return run_criu({ "--version" }) == 0;
}

int Checkpoint::open()
{
	constexpr int cmd_create = 6; /* FSCONFIG_CMD_CREATE of <linux/mount.h> */
	const Fd tmpfs(static_cast<int>(syscall(SYS_fsopen, "tmpfs", 0)));

	syscall(SYS_fsconfig, tmpfs.get(), cmd_create, nullptr, nullptr, 0);
	images = Fd(static_cast<int>(syscall(SYS_fsmount, tmpfs.get(), 0, 0)));
	return images ? 0 : -errno;
}

int Checkpoint::run(std::vector<std::string> args)
{
	/* A mount that has no place in the file system. */
	const std::string dir =
		"/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(images.get());

	args.insert(args.end(), { "-D", dir, "-o", "log", "-v4" });
	return run_criu(std::move(args));
}

int Checkpoint::dump(pid_t pid, bool leave_running)
{
	std::vector<std::string> args = { "dump", "-t", std::to_string(pid) };

	if (leave_running)
		args.emplace_back("--leave-running");
	return run(std::move(args));
}

int Checkpoint::restore()
{
	return run({ "restore", "--restore-detached", "--restore-sibling" });
}

void Checkpoint::explain() const
{
	std::ifstream log("/proc/self/fd/" + std::to_string(images.get()) + "/log");

	for (std::string line; std::getline(log, line);)
		if (line.find("Error") != std::string::npos)
			fprintf(stderr, "#   criu: %s\n", line.c_str());
}
