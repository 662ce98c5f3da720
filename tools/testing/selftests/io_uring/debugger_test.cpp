// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * To who debugs a process, its workers are threads like others: each has the name of the
 * thread that it works for, registers of user space, and an end that is reported; and a
 * debugger that is gone has left no trace.  To ptrace(2), PTRACE_DETACH restarts the
 * thread, and waitpid(2) tells of each tracee's end.  For gdb, strace and CRIU, which
 * attach to all threads of a process.  create_io_thread() and io_wq_worker() see to it.
 */
#include <array>
#include <elf.h>
#include <errno.h>
#include <fstream>
#include <limits.h>
#include <map>
#include <string.h>
#include <string>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>
#include <vector>

#include "child.hpp"
#include "peer.hpp"
#include "promise.hpp"
#include "tracer.hpp"

namespace {

/* Whether threads have the numbers here that the kernel names their workers by. */
bool in_first_pid_namespace()
{
	char name[PATH_MAX] = "";

	/* PID_NS_INIT_INO of <linux/nsfs.h> */
	return readlink("/proc/self/ns/pid", name, sizeof(name) - 1) > 0 &&
	       strcmp(name, "pid:[4026531836]") == 0;
}

std::string name_of(pid_t pid, pid_t tid)
{
	return thread_stat(pid, tid).value_or(ThreadStat()).comm;
}

/* The value of @key in /proc/<pid>/task/<tid>/status. */
std::string status_of(pid_t pid, pid_t tid, const std::string &key)
{
	std::ifstream status("/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) +
			     "/status");
	std::string word;

	while (status >> word)
		if (word == key + ":" && status >> word)
			return word;
	return {};
}

/* The registers of a thread that is stopped for us; or -errno. */
struct Registers {
	std::vector<char> bytes = std::vector<char>(4096);
	int err = 0;

	explicit Registers(pid_t tid)
	{
		struct iovec iov = { .iov_base = bytes.data(), .iov_len = bytes.size() };

		err = ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) ? -errno : 0;
		bytes.resize(err ? 0 : iov.iov_len);
	}
};

} // namespace

/* As ps(1) and top(1) show it: who would not know whose they are? */
TEST(worker_is_named_by_its_thread)
{
	pid_t peers_tid = 0;
	PeerThread peer;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	const WorkerSet ours = WorkerSet::now();

	ASSERT_EQ(0, peer.run([&] {
		peers_tid = gettid();
		return serve(ring, Class::bounded);
	}));
	const WorkerSet theirs = WorkerSet::now().without(ours);

	ASSERT_EQ(1U, ours.count());
	ASSERT_EQ(1U, theirs.count());

	const std::string our_name = name_of(getpid(), ours.tid());
	const std::string their_name = name_of(getpid(), theirs.tid());

	if (in_first_pid_namespace()) {
		ASSERT_TRUE(our_name == "iou-wrk-" + std::to_string(getpid()));
		ASSERT_TRUE(their_name == "iou-wrk-" + std::to_string(peers_tid));
	}
	ASSERT_TRUE(our_name.starts_with("iou-wrk-"));
	ASSERT_TRUE(their_name.starts_with("iou-wrk-"));
	ASSERT_TRUE(our_name != their_name);
}

/* Serves by its worker as often as it is told to, and then ends. */
static int serve_stepwise(Process &self)
{
	Uring ring;

	if (ring.open())
		return 1;
	for (int i = 0; i < 3; i++) {
		if (serve(ring, Class::bounded))
			return 2;
		self.step();
	}
	return 0;
}

TEST(registers_are_of_user_space)
{
	Process child;

	ASSERT_EQ(0, child.start(serve_stepwise));
	ASSERT_TRUE(child.await_step());
	const WorkerSet worker = WorkerSet::now(child.pid());

	ASSERT_EQ(1U, worker.count());
	for (const pid_t tid : { child.pid(), worker.tid() }) {
		if (trace(tid))
			SKIP(return, "%s", skip::no_ptrace);
		ASSERT_EQ(0, stop_traced(tid));
	}

	const Registers its(worker.tid()), owners(child.pid());

	ASSERT_EQ(0, its.err) TH_LOG("PTRACE_GETREGSET: %s", strerror(-its.err));
	ASSERT_EQ(0, owners.err) TH_LOG("PTRACE_GETREGSET: %s", strerror(-owners.err));
	/* By their size, and by the code segment, gdb takes it for a thread of 32 bits, or not. */
	ASSERT_EQ(owners.bytes.size(), its.bytes.size());
#ifdef __x86_64__
	constexpr unsigned long long end_of_user_space = 1ULL << 56;
	struct user_regs_struct theirs, ours;

	memcpy(&theirs, its.bytes.data(), sizeof(theirs));
	memcpy(&ours, owners.bytes.data(), sizeof(ours));
	ASSERT_EQ(ours.cs, theirs.cs) TH_LOG("gdb cannot tell what kind of thread it is");
	ASSERT_GT(end_of_user_space, theirs.rip) TH_LOG("it seems to run in the kernel");
	ASSERT_GT(end_of_user_space, theirs.rsp) TH_LOG("its stack seems to be the kernel's");
#endif
	for (const pid_t tid : { child.pid(), worker.tid() }) {
		ASSERT_EQ(0, let_go(tid));
	}
}

TEST(detach_leaves_no_trace)
{
	Process child;

	ASSERT_EQ(0, child.start(serve_stepwise));
	ASSERT_TRUE(child.await_step());
	const pid_t pid = child.pid();
	const WorkerSet worker = WorkerSet::now(pid);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());

	constexpr std::array keys{ "Name", "State", "TracerPid", "SigPnd", "SigBlk" };
	std::map<std::string, std::string> was;

	for (const char *key : keys)
		was[key] = status_of(pid, worker.tid(), key);
	for (int i = 0; i < 2; i++) {
		if (trace(worker.tid()))
			SKIP(return, "%s", skip::no_ptrace);
		ASSERT_EQ(0, stop_traced(worker.tid()));
		ASSERT_EQ(0, let_go(worker.tid()));
		ASSERT_TRUE(worker.await_asleep())
		{
			TH_LOG("a worker that was traced does not go on: see io_wq_worker()");
		}
		for (const char *key : keys) {
			const std::string is = status_of(pid, worker.tid(), key);

			ASSERT_TRUE(was[key] == is)
				TH_LOG("%s was %s, and is %s", key, was[key].c_str(), is.c_str());
		}
		ASSERT_EQ(0, child.go());
		ASSERT_TRUE(child.await_step());
		ASSERT_TRUE(worker.tids() == WorkerSet::now(pid).tids())
		{
			TH_LOG("another worker has taken its place: see io_wq_worker()");
		}
	}
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(worker);
	ASSERT_EQ(0, child.await_end());
}

FIXTURE(end) {};
FIXTURE_SETUP(end) {}
FIXTURE_TEARDOWN(end) {}

FIXTURE_VARIANT(end)
{
	bool busy;
};

FIXTURE_VARIANT_ADD(end, of_idle_worker) { .busy = false };
FIXTURE_VARIANT_ADD(end, of_busy_worker) { .busy = true };

/* Its process ends; a tracee is there until its tracer was told. */
TEST_F(end, is_reported)
{
	Process child;

	ASSERT_EQ(0, child.start([&](Process &self) {
		Work work(Class::unbounded);
		Uring ring;

		if (ring.open() || work.submit(ring) ||
		    (!variant->busy && (work.release() || ring.reap(1))))
			return 1;
		self.step();
		return 0;
	}));
	ASSERT_TRUE(child.await_step());
	const WorkerSet worker = WorkerSet::await(1, child.pid());

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	if (trace(worker.tid()))
		SKIP(return, "%s", skip::no_ptrace);
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(await_report_of_end(worker.tid()))
	{
		TH_LOG("a worker's end is not reported to its tracer: see io_worker_exit()");
	}
	ASSERT_WORKERS_END(worker);
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
