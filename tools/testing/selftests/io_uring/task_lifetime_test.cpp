// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A pool ends with its task, at once and whatever its workers are doing.  No other pool ends with
 * it: not that of another thread, of a parent or of a child.  Processes that exit, execute another
 * program or are killed while they use io_uring rely on that.
 * io_uring_cancel_generic() ends the pool, and waits for its workers.
 */
#include <semaphore>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "child.hpp"
#include "peer.hpp"
#include "promise.hpp"

FIXTURE(thread) {};
FIXTURE_SETUP(thread) {}
FIXTURE_TEARDOWN(thread) {}

FIXTURE_VARIANT(thread)
{
	/* Whether the workers are blocked in requests as the thread ends, or idle. */
	bool busy;
	Class kind;
};

FIXTURE_VARIANT_ADD(thread, idle) { .busy = false, .kind = Class::bounded };
FIXTURE_VARIANT_ADD(thread, idle_unbounded) { .busy = false, .kind = Class::unbounded };
FIXTURE_VARIANT_ADD(thread, busy_bounded) { .busy = true, .kind = Class::bounded };
FIXTURE_VARIANT_ADD(thread, busy_unbounded) { .busy = true, .kind = Class::unbounded };

/* The ring belongs to the process and stays, and so does the pool of the other thread. */
TEST_F(thread, ends_its_own_pool)
{
	Work work(variant->kind, 4);
	PeerThread peer;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet ours = WorkerSet::now();

	ASSERT_EQ(1U, ours.count());
	ASSERT_EQ(0, peer.run([&] {
		return variant->busy ? work.submit(ring) : serve(ring, variant->kind);
	}));

	const unsigned at_least = variant->busy ? 4 : 1;
	const WorkerSet theirs = WorkerSet::await(1 + at_least).without(ours);

	ASSERT_LE(at_least, theirs.count());
	ASSERT_TRUE(theirs.await_asleep());

	peer.end();
	ASSERT_WORKERS_END(theirs);
	peer.join();
	if (variant->busy) {
		ASSERT_EQ(0, ring.discard(4)) TH_LOG("a request of the thread was lost");
	}
	ASSERT_EQ(8U, ours.serve(ring, Class::bounded, 8));

	const RingEnd end = ring.end();

	ring.close();
	ASSERT_WORKERS_EXIT(ours, end);
}

FIXTURE(process) {};
FIXTURE_SETUP(process) {}
FIXTURE_TEARDOWN(process) {}

FIXTURE_VARIANT(process)
{
	/* What the child does at its end, if anything. */
	void (*end)() = nullptr;
	/* The signal that its parent sends then; without one, the child exits with status 3. */
	int signal = 0;
};

FIXTURE_VARIANT_ADD(process, exits) { .end = [] { _exit(3); } };
/* The leader ends as well.  It stays as a zombie until all other threads have ended. */
FIXTURE_VARIANT_ADD(process, exits_by_another_thread)
{
	.end = [] {
		std::thread([] { _exit(3); }).detach();
		syscall(SYS_exit, 0);
	}
};
FIXTURE_VARIANT_ADD(process, killed) { .signal = SIGKILL };
FIXTURE_VARIANT_ADD(process, terminated) { .signal = SIGTERM };
/* The core dump waits until all threads have stopped for it, also the workers. */
FIXTURE_VARIANT_ADD(process, dumping_core) { .signal = SIGSEGV };
FIXTURE_VARIANT_ADD(process, killed_while_stopped)
{
	.end = [] { raise(SIGSTOP); },
	.signal = SIGKILL
};

TEST_F(process, ends_its_pool)
{
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	RingEnd end = ring.end();
	ASSERT_EQ(0, child.start([&](Process &self) {
		Work bounded(Class::bounded, 2), unbounded(Class::unbounded, 2);

		if (bounded.submit(ring) || unbounded.submit(ring))
			return 1;
		self.step();
		if (variant->end)
			variant->end();
		self.step();
		return 1;
	}));
	ASSERT_TRUE(child.await_step());
	ring.close();

	const WorkerSet workers = WorkerSet::await(4, child.pid());

	ASSERT_LE(4U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ASSERT_EQ(0, child.go());
	if (variant->end && variant->signal) {
		ASSERT_TRUE(WIFSTOPPED(child.await_end(WUNTRACED)));
	}
	if (variant->signal) {
		ASSERT_EQ(0, child.signal(variant->signal));
	}
	ASSERT_WORKERS_END(workers);
	ASSERT_EQ(variant->signal ?: 3 << 8, child.await_end() & ~WCOREFLAG);
	ASSERT_TRUE(end.await())
	{
		TH_LOG("the ring of a process that ended was not freed");
	}
}

FIXTURE(exec) {};
FIXTURE_SETUP(exec) {}
FIXTURE_TEARDOWN(exec) {}

FIXTURE_VARIANT(exec)
{
	/* Whether the leader calls execve(2), or another thread. */
	bool leader;
	bool busy;
};

FIXTURE_VARIANT_ADD(exec, by_leader) { .leader = true, .busy = false };
FIXTURE_VARIANT_ADD(exec, by_leader_with_busy_workers) { .leader = true, .busy = true };
FIXTURE_VARIANT_ADD(exec, by_another_thread) { .leader = false, .busy = false };
FIXTURE_VARIANT_ADD(exec, by_another_thread_with_busy_workers) { .leader = false, .busy = true };

/* Two threads have workers, and execve(2) leaves the process with one thread. */
TEST_F(exec, leaves_one_thread)
{
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	RingEnd end = ring.end();
	ASSERT_EQ(0, child.start([&](Process &self) {
		Work ours(Class::bounded), theirs(Class::unbounded);
		const auto use = [&](Work &work) {
			return work.submit(ring) || (!variant->busy && work.release());
		};
		PeerThread peer;

		if (peer.run([&] { return use(theirs); }) || use(ours))
			return 1;
		self.step();
		if (variant->leader)
			Process::become_another();
		return peer.run([]() -> int { Process::become_another(); });
	}));
	ASSERT_TRUE(child.await_step());
	ring.close();

	const WorkerSet workers = WorkerSet::await(2, child.pid());

	ASSERT_EQ(2U, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(workers);
	ASSERT_TRUE(end.await())
	{
		TH_LOG("the ring of a process that did execve(2) was not freed");
	}

	ASSERT_TRUE(child.await_step()) TH_LOG("the child did not become another program");
	ASSERT_EQ(1, thread_count(child.pid()));
	ASSERT_EQ(0U, WorkerSet::now(child.pid()).count());
}

/* A leader that ends before other threads stays as a zombie, but its workers leave. */
TEST(leader_ends_its_own_pool)
{
	Process child;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, child.start([&](Process &self) {
		std::binary_semaphore served(0), alone(0);

		/* Bounded work needs /proc/self/fd, which is the leader's. */
		std::thread([&] {
			if (serve(ring, Class::unbounded))
				_exit(1);
			served.release();
			alone.acquire();
			self.step();
			if (serve(ring, Class::unbounded))
				_exit(2);
			self.step();
			_exit(0);
		}).detach();
		served.acquire();
		if (serve(ring, Class::bounded))
			return 1;
		self.step();
		alone.release();
		return static_cast<int>(syscall(SYS_exit, 0));
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet both = WorkerSet::now(child.pid());

	ASSERT_EQ(2U, both.count());
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(1U, both.await_count(1, Deadline(limit::prompt)));
	ASSERT_TRUE(child.await_step());

	const WorkerSet other = WorkerSet::now(child.pid());

	ASSERT_EQ(1U, other.count());
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step());
	ASSERT_TRUE(other.tids() == WorkerSet::now(child.pid()).tids());
	ASSERT_EQ(0, child.go());
	ASSERT_WORKERS_END(other);
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
