// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "child.hpp"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "proc.hpp"

namespace {

constexpr char another[] = "another_program";

/* Who forks, and who forked this process. */
pid_t forker, parent;

void die_with(pid_t expected)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	/* It may have ended before.  A parent outside of our PID namespace is 0. */
	const pid_t now = getppid();

	if (now && now != expected)
		raise(SIGKILL);
}

/* vfork(2) does not call it. */
void after_fork()
{
	parent = forker;
	die_with(parent);
	end_by_itself();
}

void reap_orphans()
{
	const Deadline deadline(limit::event);

	while (waitpid(-1, nullptr, WNOHANG) >= 0 && !deadline.over())
		deadline.back_off();
}

} // namespace

void look_after_children()
{
	/* Threads of the parent may end before it, and would send the signal, too. */
	parent = getppid();
	if (thread_count(parent) == 1)
		die_with_parent();
	pthread_atfork([] { forker = getpid(); }, nullptr, after_fork);
	/* Only the standard streams are this program's. */
	close_files_from(STDERR_FILENO + 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	atexit(reap_orphans);
}

void end_by_itself()
{
	alarm(static_cast<unsigned>(limit::life / std::chrono::seconds(1)));
}

void die_with_parent()
{
	die_with(parent);
}

int become_user(uid_t uid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3,
						   .pid = 0 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	if (setresuid(uid, uid, uid) || syscall(SYS_capset, &header, none))
		return -errno;
	die_with_parent();
	/* Without this, /proc/self would still belong to root. */
	prctl(PR_SET_DUMPABLE, 1);
	return 0;
}

Process::Process(Process &&other) noexcept
	: done(std::move(other.done)), told(std::move(other.told)),
	  child(std::exchange(other.child, -1))
{
}

Process::~Process()
{
	if (child > 0 && signal(SIGKILL) == 0)
		await_end();
}

/* What the child does, and its exit status.  After vfork(2) it has the parent's objects. */
int Process::enter(const std::function<int(Process &)> &run) noexcept
{
	dup2(told.rd.get(), STDIN_FILENO);
	dup2(done.wr.get(), STDOUT_FILENO);
	/* Nothing can be written to this end of the pipe. */
	dup2(told.rd.get(), STDERR_FILENO);
	for (const Fd *fd : { &done.rd, &done.wr, &told.rd, &told.wr })
		::close(fd->get());
	return run(*this);
}

int Process::open()
{
	const int err = done.open();

	return err ? err : told.open();
}

int Process::start(const std::function<int(Process &)> &run)
{
	if (const int err = open())
		return err;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(enter(run));
	done.wr.close();
	told.rd.close();
	return 0;
}

int Process::run_in_vfork(const std::function<int(Process &)> &run)
{
	const pid_t self = getpid(), vforked = vfork();

	if (vforked < 0)
		return -errno;
	if (vforked == 0) {
		die_with(self);
		end_by_itself();
		_exit(enter(run));
	}
	done.wr.close();
	return waitpid(vforked, nullptr, 0) == vforked ? 0 : -errno;
}

void Process::step()
{
	if (!await_go())
		_exit(1);
}

bool Process::await_go()
{
	char byte = 0;

	/* Interrupted by task work, it restarts; without a parent, it ends. */
	return write(STDOUT_FILENO, &byte, 1) == 1 && read(STDIN_FILENO, &byte, 1) == 1;
}

void Process::become_another()
{
	/* The parent-death signal belongs to a thread, and this may be another thread. */
	die_with_parent();
	execl("/proc/self/exe", another, nullptr);
	_exit(127);
}

bool Process::is_another(char **argv)
{
	return argv[0] && strcmp(argv[0], another) == 0;
}

int Process::run_another()
{
	Process().step();
	return 0;
}

int Process::go()
{
	const char byte = 0;

	return write(told.wr.get(), &byte, 1) == 1 ? 0 : -errno;
}

bool Process::await_step()
{
	return await_byte(done.rd.get());
}

int Process::signal(int sig) const
{
	return kill(child, sig) ? -errno : 0;
}

int Process::await_end(int options, milliseconds limit)
{
	const Deadline deadline(limit);
	int status;

	for (;;) {
		if (waitpid(child, &status, options | WNOHANG) == child) {
			if (!WIFSTOPPED(status))
				child = -1;
			return status;
		}
		if (deadline.over())
			return -1;
		deadline.back_off();
	}
}

int Process::await_result(milliseconds limit)
{
	const int status = await_end(0, limit);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int in_child(const std::function<int()> &run)
{
	Process child;

	if (const int err = child.start([&](Process &) { return run(); }))
		return err;
	return child.await_result();
}

int execute(std::vector<std::string> command)
{
	std::vector<char *> argv;

	argv.reserve(command.size() + 1);
	for (std::string &word : command)
		argv.push_back(word.data());
	argv.push_back(nullptr);
	execvp(argv[0], argv.data());
	return 127;
}
