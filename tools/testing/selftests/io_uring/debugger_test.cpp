// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A debugger can treat the workers of a process like its other threads.  A worker is named by the
 * thread that it works for, and has registers of user space.  Its end is reported to its tracer
 * by waitpid(2), and after PTRACE_DETACH it goes on as if it had not been traced.  gdb, strace and
 * CRIU attach to all threads of a process, and rely on that.
 * create_io_thread() gives a worker its name and registers; io_wq_worker() stops for a tracer.
 */
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

/* True if we see the TIDs by which the kernel names workers: those of the first PID namespace. */
bool in_first_pid_namespace()
{
	char name[PATH_MAX] = "";

	/* The number is PID_NS_INIT_INO of <linux/nsfs.h>. */
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

/* The registers of a thread that we have stopped; empty if it has none to show. */
std::vector<char> registers(pid_t tid)
{
	std::vector<char> bytes(4096);
	struct iovec iov = { .iov_base = bytes.data(), .iov_len = bytes.size() };

	bytes.resize(ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) ? 0 : iov.iov_len);
	return bytes;
}

} // namespace

/* ps(1) and top(1) show this name, and nothing else says which thread a worker belongs to. */
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

/* A child has its worker do a request at each of three steps, and then ends. */
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

	const auto of_worker = registers(worker.tid()), of_owner = registers(child.pid());

	ASSERT_FALSE(of_worker.empty()) TH_LOG("PTRACE_GETREGSET fails for the worker");
	/* gdb learns from the size and the code segment whether a thread runs 32-bit code. */
	ASSERT_EQ(of_owner.size(), of_worker.size());
#ifdef __x86_64__
	constexpr unsigned long long end_of_user_space = 1ULL << 56;
	struct user_regs_struct workers, owners;

	memcpy(&workers, of_worker.data(), sizeof(workers));
	memcpy(&owners, of_owner.data(), sizeof(owners));
	ASSERT_EQ(owners.cs, workers.cs)
	{
		TH_LOG("gdb cannot tell whether the worker is a 32-bit thread");
	}
	ASSERT_GT(end_of_user_space, workers.rip) TH_LOG("the worker seems to run in the kernel");
	ASSERT_GT(end_of_user_space, workers.rsp) TH_LOG("the worker has a stack of the kernel");
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

	std::map<std::string, std::string> before;

	for (const char *key : { "Name", "State", "TracerPid", "SigPnd", "SigBlk" })
		before[key] = status_of(pid, worker.tid(), key);
	for (int i = 0; i < 2; i++) {
		if (trace(worker.tid()))
			SKIP(return, "%s", skip::no_ptrace);
		ASSERT_EQ(0, stop_traced(worker.tid()));
		ASSERT_EQ(0, let_go(worker.tid()));
		ASSERT_TRUE(worker.await_asleep())
		{
			TH_LOG("a worker that was traced does not go on: see io_wq_worker()");
		}
		for (const auto &[key, value] : before) {
			const std::string after = status_of(pid, worker.tid(), key);

			ASSERT_TRUE(value == after)
			{
				TH_LOG("%s was %s, and is %s", key.c_str(), value.c_str(),
				       after.c_str());
			}
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
	/* Whether the worker is blocked in a request, or idle. */
	bool busy;
};

FIXTURE_VARIANT_ADD(end, of_idle_worker) { .busy = false };
FIXTURE_VARIANT_ADD(end, of_busy_worker) { .busy = true };

/* The process ends.  A traced thread remains until its tracer has seen its end. */
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
