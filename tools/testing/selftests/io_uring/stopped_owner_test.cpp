// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Workers are told to leave by task work of their owner (io_tctx_exit_cb()), which may not be
 * running as its ring is closed.  If it sleeps, it is woken.  If it is stopped, or waits in
 * vfork(2), the workers leave as soon as it runs again.  Programs sleep most of the time, shells
 * and debuggers stop them, and their threads start other programs.
 */
#include <linux/futex.h>
#include <poll.h>
#include <semaphore>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>

#include "child.hpp"
#include "promise.hpp"

FIXTURE(asleep) {};
FIXTURE_SETUP(asleep) {}
FIXTURE_TEARDOWN(asleep) {}

FIXTURE_VARIANT(asleep)
{
	/* Sleeps for ever, or until it is interrupted. */
	void (*wait)();
};

FIXTURE_VARIANT_ADD(asleep, in_poll)
{
	.wait = [] { poll(nullptr, 0, -1); }
};
FIXTURE_VARIANT_ADD(asleep, in_nanosleep)
{
	.wait = [] { sleep(3600); }
};
FIXTURE_VARIANT_ADD(asleep, in_read)
{
	.wait = [] {
		char byte;

		if (read(STDIN_FILENO, &byte, 1) == 1)
			_exit(1);
	}
};
FIXTURE_VARIANT_ADD(asleep, in_futex)
{
	.wait = [] {
		static int word;

		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
	}
};
FIXTURE_VARIANT_ADD(asleep, in_epoll_wait)
{
	.wait = [] {
		struct epoll_event event;

		epoll_wait(epoll_create1(0), &event, 1, -1);
	}
};

/*
 * The owner closes its ring and goes to sleep.  The kernel has to wake it for its task work.  As
 * an owner that sleeps cannot look at its own workers, it is a child, and this process looks.
 */
TEST_F(asleep, last_ring_closed)
{
	Process owner;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	RingEnd end = ring.end();
	ASSERT_EQ(0, owner.start([&](Process &self) {
		if (serve(ring, Class::bounded))
			return 1;
		self.step();
		ring.close();
		for (;;)
			variant->wait();
	}));
	/* Only the owner holds the ring. */
	ring.close();
	ASSERT_TRUE(owner.await_step());

	const WorkerSet workers = WorkerSet::now(owner.pid());

	ASSERT_EQ(1U, workers.count());
	ASSERT_EQ(0, owner.go());
	ASSERT_WORKERS_EXIT(workers, end);
	ASSERT_EQ(0U, WorkerSet::now(owner.pid()).count());
	ASSERT_EQ(1, thread_count(owner.pid()));
}

FIXTURE(stopped) {};
FIXTURE_SETUP(stopped) {}
FIXTURE_TEARDOWN(stopped) {}

FIXTURE_VARIANT(stopped)
{
	/* Whether the owner closes the ring last, or stops and leaves that to its parent. */
	bool closes_last;
};

FIXTURE_VARIANT_ADD(stopped, before_close) { .closes_last = false };
FIXTURE_VARIANT_ADD(stopped, after_close) { .closes_last = true };

TEST_F(stopped, worker_leaves_after_sigcont)
{
	Process owner;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, owner.start([&](Process &self) {
		if (serve(ring, Class::bounded))
			return 1;
		self.step();
		ring.close();
		raise(SIGSTOP);
		self.step();
		return 0;
	}));
	ASSERT_TRUE(owner.await_step());

	const WorkerSet worker = WorkerSet::now(owner.pid());

	ASSERT_EQ(1U, worker.count());
	if (variant->closes_last)
		ring.close();
	ASSERT_EQ(0, owner.go());
	ASSERT_TRUE(WIFSTOPPED(owner.await_end(WUNTRACED)));
	ring.close();
	ASSERT_TRUE(others_end());
	/* The ring's end waits for task work of the owner, unless it ran before the stop. */
	if (!variant->closes_last)
		ASSERT_FALSE(end.over());
	ASSERT_TRUE(end.over() || worker.alive() == 1);
	ASSERT_EQ(0, owner.signal(SIGCONT));
	ASSERT_TRUE(owner.await_step());
	ASSERT_WORKERS_EXIT(worker, end);
	ASSERT_EQ(1, thread_count(owner.pid()));
	ASSERT_EQ(0, owner.go());
	ASSERT_EQ(0, owner.await_end());
}

FIXTURE(in_vfork) {};
FIXTURE_SETUP(in_vfork) {}
FIXTURE_TEARDOWN(in_vfork) {}

FIXTURE_VARIANT(in_vfork)
{
	/* The child has copies of all descriptors, and may close that of the ring. */
	bool child_closes_ring;
};

FIXTURE_VARIANT_ADD(in_vfork, child_has_ring) { .child_closes_ring = false };
FIXTURE_VARIANT_ADD(in_vfork, child_has_no_ring) { .child_closes_ring = true };

TEST_F(in_vfork, worker_leaves_after_child)
{
	const bool closes = variant->child_closes_ring;
	Process vforked;
	Uring ring;
	std::binary_semaphore ended(0);
	int err = 0;

	ASSERT_EQ(0, vforked.open());
	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	/* The thread is detached, so that a test that fails does not wait for it. */
	std::thread([&] {
		err = serve(ring, Class::bounded);
		vforked.run_in_vfork([&](Process &self) {
			if (closes)
				close(ring.fd());
			self.step();
			return 0;
		});
		ended.release();
		for (;;)
			pause();
	}).detach();
	ASSERT_TRUE(vforked.await_step());
	ASSERT_EQ(0, err);

	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ring.close();
	ASSERT_TRUE(others_end());
	ASSERT_FALSE(end.over());
	ASSERT_TRUE(worker.await_asleep());

	ASSERT_EQ(0, vforked.go());
	const Deadline deadline(limit::event);

	while (!ended.try_acquire_for(milliseconds(deadline.poll_ms()))) {
		ASSERT_FALSE(deadline.over());
	}
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
