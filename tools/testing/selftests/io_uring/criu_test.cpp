// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * CRIU can dump and restore a process that has closed its last ring.  For
 * containers that migrate.  It stops each thread by ptrace(2) and has it run code of
 * its own; a worker, which never returns to user space, never does, and CRIU waits
 * for ever.  So none is asked to try where a worker is left: by then the test has
 * failed, or skipped.
 *
 * Needs root, and CRIU as criu in the PATH or as the command that CRIU names.
 */
#include <signal.h>
#include <string.h>
#include <thread>

#include "criu.hpp"
#include "observer.hpp"

/* Uses a ring, and awaits that its worker leaves.  0 if all went well. */
static int use_ring()
{
	Ring ring;

	if (ring.open() || serve(ring, Class::unbounded))
		return 1;
	const Workers workers = Workers::now();
	const RingEnd end = ring.end();

	ring.close();
	return workers.count() == 1 && workers.await_exit(end).fate == Exit::gone ? 0 : 2;
}

/*
 * What a child does that is to be dumped.  It serves one request of @ring, for a step, and
 * closes that; then, or at once without a ring, its output.  It waits for SIGUSR1, and ends
 * with what use_ring() returns.
 */
static int be_victim(Child &self, unsigned threads, Ring *ring)
{
	sigset_t wake;
	int sig;

	setsid();
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wake, nullptr);
	while (threads-- > 1)
		std::thread([] {
			for (;;)
				pause();
		}).detach();
	if (ring) {
		if (serve(*ring, Class::unbounded))
			return 3;
		self.step();
		ring->close();
	}

	/* Nothing that CRIU would have to share with others. */
	let_go_of_streams();
	close_files_from(STDERR_FILENO + 1);
	while (sigwait(&wake, &sig)) {
	}
	return ring ? use_ring() : 0;
}

/* Whether CRIU can do what is asked of it here, with a process that knows no ring. */
static bool criu_works()
{
	Checkpoint checkpoint;
	Child victim;

	if (checkpoint.open() ||
	    victim.start([](Child &self) { return be_victim(self, 1, nullptr); }))
		return false;
	/* It does no step, but goes on. */
	const pid_t pid = victim.pid();

	if (!victim.output().empty() || checkpoint.dump(pid) ||
	    victim.await_end() != SIGKILL || checkpoint.restore()) {
		checkpoint.explain();
		return false;
	}
	victim.adopt(pid);
	return victim.signal(SIGUSR1) == 0 && victim.await_result() == 0;
}

const char *program_cannot_test(char **argv)
{
	if (geteuid() || enter_own_namespaces(argv))
		return skip::not_root;
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
};

FIXTURE_VARIANT_ADD(closed_ring, once) {};
FIXTURE_VARIANT_ADD(closed_ring, twice) { .dumps = 2 };
FIXTURE_VARIANT_ADD(closed_ring, two_threads) { .threads = 2 };
FIXTURE_VARIANT_ADD(closed_ring, leave_running) { .leave_running = true };
FIXTURE_VARIANT_ADD(closed_ring, at_once) { .at_once = true };

/* The harness' own limit, 30 s, is that of one run of CRIU. */
TEST_F_TIMEOUT(closed_ring, process_is_dumped_and_restored, 170)
{
	Checkpoint checkpoint[2];
	Checkpoint *last = checkpoint;
	Child victim;
	Ring ring;

	/* Does this kernel let workers leave at all? */
	ASSERT_RELIEVED(2, 1, thread_count);

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, victim.start([&](Child &self) {
		return be_victim(self, variant->threads, &ring);
	}));
	ring.close();
	ASSERT_TRUE(victim.await_step());

	const pid_t pid = victim.pid();
	const Workers worker = Workers::now(pid);

	ASSERT_EQ(1U, worker.count()) dump_threads(pid);
	ASSERT_EQ(0, victim.go());
	ASSERT_TRUE(victim.output().empty());
	if (variant->at_once) {
		ASSERT_EQ(0, last->open());
		/*
		 * It fails, harming nobody, where the worker dies in its hands: the
		 * owner does its part once CRIU has it run code.
		 */
		const int status = last->dump(pid, true);

		ASSERT_LE(0, status) TH_LOG("criu dump: %s", strerror(-status));
		if (status)
			TH_LOG("criu met the worker");
	}
	ASSERT_WORKERS_EXIT(worker, end);

	for (unsigned i = 1; i <= variant->dumps; i++) {
		const bool leave_running = i < variant->dumps || variant->leave_running;

		last = &checkpoint[i - 1];
		ASSERT_EQ(static_cast<int>(variant->threads), thread_count(pid))
			dump_threads(pid);
		ASSERT_EQ(0, last->open());
		ASSERT_EQ(0, last->dump(pid, leave_running))
		{
			last->explain();
			dump_threads(pid);
		}
	}
	if (!variant->leave_running) {
		ASSERT_EQ(SIGKILL, victim.await_end());
		ASSERT_EQ(0, last->restore()) last->explain();
		victim.adopt(pid);
	}
	ASSERT_EQ(static_cast<int>(variant->threads), thread_count(pid)) dump_threads(pid);
	ASSERT_EQ(0, victim.signal(SIGUSR1));
	ASSERT_EQ(0, victim.await_result()) TH_LOG("it could not use a ring again");
}

TEST_HARNESS_MAIN
