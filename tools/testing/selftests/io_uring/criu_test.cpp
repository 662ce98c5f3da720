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
 * A child to be dumped.  It serves one request of its ring, tells so, and closes the
 * ring when told to; then, or at once without a ring, its end of @ready.  It waits
 * for SIGUSR1, and ends with what use_ring() returns.
 */
static pid_t start_victim(unsigned threads, Pipe &ready, Pipe &go, Ring *ring)
{
	const pid_t victim = fork();
	sigset_t wake;
	char byte = 0;
	int sig;

	if (victim) {
		ready.wr.close();
		if (ring)
			ring->close();
		return victim;
	}

	/* Nothing that CRIU would have to share with others. */
	let_go_of_streams();
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
		if (serve(*ring, Class::unbounded) || write(ready.wr.get(), &byte, 1) != 1 ||
		    read(go.rd.get(), &byte, 1) != 1)
			_exit(3);
		ring->close();
	}
	close_range(STDERR_FILENO + 1, ~0U, 0);
	while (sigwait(&wake, &sig)) {
	}
	_exit(ring ? use_ring() : 0);
}

/* The exit status of a child, its negative signal, or -ETIME after limit::event. */
static int await_end(pid_t child)
{
	const Deadline deadline(limit::event);
	int status;

	while (waitpid(child, &status, WNOHANG) != child) {
		if (deadline.over())
			return -ETIME;
		deadline.back_off();
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Whether CRIU can do what is asked of it here, with a process that knows no ring. */
static bool criu_works()
{
	Checkpoint checkpoint;
	Pipe ready, go;
	char byte;

	if (checkpoint.open() || ready.open() || go.open())
		return false;
	const pid_t victim = start_victim(1, ready, go, nullptr);

	if (victim < 0 || read(ready.rd.get(), &byte, 1) || checkpoint.dump(victim)) {
		kill(victim, SIGKILL);
		await_end(victim);
		checkpoint.explain();
		return false;
	}
	if (await_end(victim) != -SIGKILL || checkpoint.restore()) {
		checkpoint.explain();
		return false;
	}
	return kill(victim, SIGUSR1) == 0 && await_end(victim) == 0;
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
	Pipe ready, go;
	char byte = 0;
	Ring ring;

	/* Does this kernel let workers leave at all? */
	ASSERT_RELIEVED(2, 1, thread_count);

	ASSERT_EQ(0, ready.open());
	ASSERT_EQ(0, go.open());
	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();
	const pid_t victim = start_victim(variant->threads, ready, go, &ring);

	ASSERT_LT(0, victim);
	ASSERT_EQ(1, read(ready.rd.get(), &byte, 1));
	const Workers worker = Workers::now(victim);

	ASSERT_EQ(1U, worker.count()) dump_threads(victim);
	ASSERT_EQ(1, write(go.wr.get(), &byte, 1));
	ASSERT_EQ(0, read(ready.rd.get(), &byte, 1));
	if (variant->at_once) {
		ASSERT_EQ(0, last->open());
		/*
		 * It fails, harming nobody, where the worker dies in its hands: the
		 * owner does its part once CRIU has it run code.
		 */
		const int status = last->dump(victim, true);

		ASSERT_LE(0, status) TH_LOG("criu dump: %s", strerror(-status));
		if (status)
			TH_LOG("criu met the worker");
	}
	ASSERT_WORKERS_EXIT(worker, end);

	for (unsigned i = 1; i <= variant->dumps; i++) {
		const bool leave_running = i < variant->dumps || variant->leave_running;

		last = &checkpoint[i - 1];
		ASSERT_EQ(static_cast<int>(variant->threads), thread_count(victim))
			dump_threads(victim);
		ASSERT_EQ(0, last->open());
		ASSERT_EQ(0, last->dump(victim, leave_running))
		{
			last->explain();
			dump_threads(victim);
		}
	}
	if (!variant->leave_running) {
		ASSERT_EQ(-SIGKILL, await_end(victim));
		ASSERT_EQ(0, last->restore()) last->explain();
	}
	ASSERT_EQ(static_cast<int>(variant->threads), thread_count(victim)) dump_threads(victim);
	ASSERT_EQ(0, kill(victim, SIGUSR1));
	ASSERT_EQ(0, await_end(victim)) TH_LOG("it could not use a ring again");
}

TEST_HARNESS_MAIN
