// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * CRIU can dump and restore a process that has closed its last ring, as in containers that
 * migrate.  CRIU stops each thread by ptrace(2) and has it run code of CRIU's own.  A worker never
 * returns to user space and so never runs it, and CRIU waits for ever.  Therefore CRIU is not run
 * where a worker is left: by then the test has failed, or skipped.
 *
 * Needs root, and CRIU as criu in the PATH, or as the command that is in $CRIU.
 */
#include <signal.h>
#include <string.h>

#include "criu.hpp"
#include "observer.hpp"

/* Uses a ring, and awaits that its workers and SQPOLL thread leave.  0 if all went well. */
static int use_ring(unsigned flags = 0)
{
	struct io_uring_params p = {};
	Uring ring;

	p.flags = flags;
	p.sq_thread_idle = 1;
	if (ring.open(p) || serve(ring, Class::unbounded))
		return 1;
	const WorkerSet workers = WorkerSet::now(), thread = WorkerSet::sqpoll();
	const RingEnd end = ring.end();

	ring.close();
	if (!thread.count())
		return workers.await_exit(end).fate != Exit::gone;
	/* Its pool ends with it. */
	return thread.await_exit().fate != Exit::gone || workers.await_exit().fate != Exit::gone;
}

const char *program_cannot_test(char **argv)
{
	if (geteuid())
		return skip::not_root;
	if (const char *why = enter_own_namespaces(argv))
		return why;
	if (access("/proc/sys/kernel", F_OK))
		return skip::no_proc_sys;
	if (access("/proc/sys/kernel/ns_last_pid", F_OK))
		return skip::no_checkpoint_restore;
	if (!criu_installed())
		return skip::no_criu;
	return criu_works() ? nullptr : skip::criu_fails;
}

FIXTURE(closed_ring) {};
FIXTURE_SETUP(closed_ring) {}
FIXTURE_TEARDOWN(closed_ring) {}

FIXTURE_VARIANT(closed_ring)
{
	unsigned threads = 1;
	unsigned dumps = 1;
	/* After the last dump, too. */
	bool leave_running = false;
	/* The worker may be leaving while CRIU comes. */
	bool at_once = false;
	/* A first pass over the memory, while the process goes on. */
	bool pre_dump = false;
};

FIXTURE_VARIANT_ADD(closed_ring, once) {};
FIXTURE_VARIANT_ADD(closed_ring, twice) { .dumps = 2 };
FIXTURE_VARIANT_ADD(closed_ring, two_threads) { .threads = 2 };
FIXTURE_VARIANT_ADD(closed_ring, leave_running) { .leave_running = true };
FIXTURE_VARIANT_ADD(closed_ring, at_once) { .at_once = true };
FIXTURE_VARIANT_ADD(closed_ring, pre_dump) { .pre_dump = true };

/* The harness' own limit, 30 s, is that of one run of CRIU. */
TEST_F_TIMEOUT(closed_ring, process_is_dumped_and_restored, 170)
{
	Checkpoint saved[2];
	Checkpoint *last = saved;
	Process victim;
	Uring ring;

	/* Does this kernel let workers leave at all? */
	ASSERT_RELIEVED(2, 1, thread_count);
	if (variant->pre_dump && !criu_pre_dumps())
		SKIP(return, "%s", skip::criu_fails);

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, victim.start([&](Process &self) {
		become_victim(variant->threads);
		if (serve(ring, Class::unbounded))
			return 3;
		self.step();
		ring.close();
		let_go();
		await_sigusr1();
		return use_ring();
	}));
	ring.close();
	ASSERT_TRUE(victim.await_step());

	const pid_t pid = victim.pid();
	const WorkerSet worker = WorkerSet::now(pid);

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, victim.go());
	ASSERT_TRUE(victim.output().empty());
	if (variant->at_once) {
		ASSERT_EQ(0, last->open());
		/*
		 * It fails, harming nobody, where the worker dies in its hands: the
		 * owner does its part once CRIU has it run code.
		 */
		const int status = last->dump(pid, true);

		ASSERT_LE(0, status)
		{
			TH_LOG("criu dump: %s", strerror(-status));
		}
		if (status)
			TH_LOG("criu met the worker");
	}
	ASSERT_WORKERS_EXIT(worker, end);
	if (variant->pre_dump) {
		ASSERT_EQ(0, last->open());
		ASSERT_EQ(0, last->pre_dump(pid));
	}

	for (unsigned i = 1; i <= variant->dumps; i++) {
		const bool leave_running = i < variant->dumps || variant->leave_running;

		last = &saved[i - 1];
		ASSERT_EQ(static_cast<int>(variant->threads), thread_count(pid));
		ASSERT_EQ(0, last->open());
		ASSERT_EQ(0, last->dump(pid, leave_running));
	}
	if (!variant->leave_running) {
		ASSERT_EQ(SIGKILL, victim.await_end());
		ASSERT_EQ(0, last->restore());
		victim.adopt(pid);
	}
	ASSERT_EQ(static_cast<int>(variant->threads), thread_count(pid));
	ASSERT_EQ(0, victim.signal(SIGUSR1));
	ASSERT_EQ(0, victim.await_result())
	{
		TH_LOG("it could not use a ring again");
	}
}

FIXTURE(process) {};
FIXTURE_SETUP(process) {}
FIXTURE_TEARDOWN(process) {}

/* The thread's pool ends with the thread, on any kernel. */
TEST_F_TIMEOUT(process, closed_sqpoll_ring_is_no_hindrance, 170)
{
	Checkpoint saved;
	Process victim;

	ASSERT_EQ(0, victim.start([&](Process &self) {
		become_victim();
		if (const int failed = use_ring(IORING_SETUP_SQPOLL))
			return failed;
		self.step();
		let_go();
		await_sigusr1();
		return use_ring(IORING_SETUP_SQPOLL);
	}));
	ASSERT_TRUE(victim.await_step());
	ASSERT_EQ(0, victim.go());
	ASSERT_TRUE(victim.output().empty());
	const pid_t pid = victim.pid();

	ASSERT_EQ(1, thread_count(pid));
	ASSERT_EQ(0, saved.open());
	ASSERT_EQ(0, saved.dump(pid));
	ASSERT_EQ(SIGKILL, victim.await_end());
	ASSERT_EQ(0, saved.restore());
	victim.adopt(pid);
	ASSERT_EQ(0, victim.signal(SIGUSR1));
	ASSERT_EQ(0, victim.await_result())
	{
		TH_LOG("it could not use a ring again");
	}
}

/* CRIU refuses it, and at once: it cannot hang, and harms nobody. */
TEST_F_TIMEOUT(process, open_ring_is_refused, 170)
{
	Checkpoint saved;
	Process victim;

	ASSERT_EQ(0, victim.start([&](Process &) {
		Uring ring;

		become_victim();
		let_go();
		if (ring.open() || serve(ring, Class::unbounded))
			return 3;
		await_sigusr1();
		return serve(ring, Class::unbounded) ? 4 : 0;
	}));
	ASSERT_TRUE(victim.output().empty());

	const pid_t pid = victim.pid();
	const WorkerSet worker = WorkerSet::await(1, pid);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	ASSERT_EQ(0, saved.open());
	const int status = saved.dump(pid);

	ASSERT_LT(0, status)
	{
		TH_LOG("criu dump: %s", status ? strerror(-status) : "done");
	}
	ASSERT_EQ(1U, worker.alive());
	ASSERT_EQ(0, victim.signal(SIGUSR1));
	ASSERT_EQ(0, victim.await_result())
	{
		TH_LOG("it could not use its ring any more");
	}
}

TEST_HARNESS_MAIN
