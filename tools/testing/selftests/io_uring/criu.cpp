// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "criu.hpp"

#include <errno.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sstream>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>

#include "child.hpp"
#include "kernel.hpp"
#include "proc.hpp"

const char *enter_own_namespaces(char **argv)
{
	PipeEnds life;
	pid_t waited;
	int status;

	if (getpid() == 1)
		return nullptr;
	if (life.open() || unshare(CLONE_NEWPID | CLONE_NEWNS))
		return skip::no_namespace;
	const pid_t child = fork();

	if (child < 0)
		return skip::no_namespace;
	if (child > 0) {
		/* The first of a PID namespace ignores its alarm, but ends with this process. */
		end_by_itself();
		do
			waited = waitpid(child, &status, 0);
		while (waited != child);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}

	/* The parent is outside, so that getppid(2) does not tell whether it is there. */
	struct pollfd parent = { .fd = life.rd.get(), .events = 0, .revents = 0 };

	life.wr.close();
	if (poll(&parent, 1, 0))
		_exit(1);

	/* Executed anew, as CRIU looks files up by their mount. */
	const std::string exe = std::filesystem::read_symlink("/proc/self/exe");

	/* In chroot(2), "/" need not be a mount. */
	if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
	    mount("proc", "/proc", "proc", 0, nullptr))
		return skip::no_namespace;
	execv(exe.c_str(), argv);
	return skip::no_program_file;
}

/* Runs it with @args, and without output.  Its status, or -ETIME. */
static int run_criu(const std::vector<std::string> &args)
{
	/* It may name a loader and its arguments as well. */
	const char *named = getenv("CRIU");
	std::istringstream words(named && *named ? named : "criu");
	std::vector<std::string> command(std::istream_iterator<std::string>(words), {});
	Process criu;

	command.insert(command.end(), args.begin(), args.end());
	if (const int err = criu.start([&](Process &) { return execute(command); }))
		return err;
	const int status = criu.await_end(0, limit::criu);

	if (status == -1)
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
	const Fd tmpfs = Fd::from(syscall(SYS_fsopen, "tmpfs", 0));

	syscall(SYS_fsconfig, tmpfs.get(), cmd_create, nullptr, nullptr, 0);
	images = Fd::from(syscall(SYS_fsmount, tmpfs.get(), 0, 0));
	return images.error();
}

int Checkpoint::run(std::vector<std::string> args)
{
	/* A mount that has no place in the file system. */
	const std::string dir =
		"/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(images.get());

	args.insert(args.end(), { "-D", dir, "-o", "log", "-v4" });

	const int status = run_criu(args);

	if (status)
		explain();
	return status;
}

int Checkpoint::dump(pid_t pid, bool leave_running)
{
	std::vector<std::string> args = { "dump", "-t", std::to_string(pid) };

	if (leave_running)
		args.emplace_back("--leave-running");
	return run(std::move(args));
}

int Checkpoint::pre_dump(pid_t pid)
{
	return run({ "pre-dump", "-t", std::to_string(pid) });
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

/* Makes /dev/null the standard streams, where there is one. */
static void let_go_of_streams()
{
	const Fd null = Fd::from(open("/dev/null", O_RDWR));

	if (!null)
		return;
	for (const int fd : { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO })
		dup2(null.get(), fd);
}

void become_victim(unsigned threads)
{
	sigset_t wake;

	setsid();
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wake, nullptr);
	while (threads-- > 1)
		std::thread([] {
			for (;;)
				pause();
		}).detach();
}

void let_go()
{
	let_go_of_streams();
	close_files_from(STDERR_FILENO + 1);
}

void await_sigusr1()
{
	sigset_t wake;
	int sig, err;

	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	do
		err = sigwait(&wake, &sig);
	while (err);
}

/* One that knows no ring, to see what CRIU can do here.  0, or -errno. */
static int start_plain(Process &victim)
{
	return victim.start([](Process &) {
		become_victim(1);
		let_go();
		await_sigusr1();
		return 0;
	});
}

bool criu_works()
{
	Checkpoint saved;
	Process victim;

	if (saved.open() || start_plain(victim))
		return false;
	/* It does no step, but goes on. */
	const pid_t pid = victim.pid();

	if (!victim.output().empty() || saved.dump(pid) || victim.await_end() != SIGKILL ||
	    saved.restore())
		return false;
	victim.adopt(pid);
	return victim.signal(SIGUSR1) == 0 && victim.await_result() == 0;
}

bool criu_pre_dumps()
{
	Checkpoint saved;
	Process victim;

	return saved.open() == 0 && start_plain(victim) == 0 && victim.output().empty() &&
	       saved.pre_dump(victim.pid()) == 0;
}
