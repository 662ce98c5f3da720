// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * With IORING_ENTER_SQ_WAIT of io_uring_enter(2), who has filled the submission queue of an
 * SQPOLL ring waits until there is room, or for a signal, and no longer.  For all who submit
 * faster than the thread takes.  io_sqpoll_wait_sq() waits, and io_sq_thread() wakes.
 */
#include <atomic>
#include <errno.h>
#include <signal.h>
#include <thread>

#include "harness.hpp"
#include "workers.hpp"

/* Fills the submission queue, without a word to the thread. */
static void fill(Uring &ring)
{
	struct io_uring_sq &sq = ring.get()->sq;

	while (struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get())) {
		io_uring_prep_nop(sqe);
		if (sq.array)
			sq.array[sq.sqe_head & sq.ring_mask] = sq.sqe_head & sq.ring_mask;
		sq.sqe_head++;
	}
	io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
}

/* With IORING_ENTER_SQ_WAIT, until the thread takes an entry, or for a signal. */
TEST(submitter_waits_for_room)
{
	std::atomic<int> told = -ETIME;
	std::atomic<pid_t> waiter = 0;
	struct io_uring_params p = {};
	struct sigaction note = {};
	Uring ring;
	const auto wait = [&] {
		waiter = gettid();
		told = io_uring_enter(static_cast<unsigned>(ring.fd()), 0, 0, IORING_ENTER_SQ_WAIT,
				      nullptr);
	};

	note.sa_handler = [](int) {};
	ASSERT_EQ(0, sigaction(SIGUSR1, &note, nullptr));
	/* The thread goes to sleep at once. */
	p.flags = IORING_SETUP_SQPOLL;
	p.sq_thread_idle = 1;
	const int err = ring.open(p);

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	wait();
	ASSERT_EQ(0, told.load()) TH_LOG("there is room");

	const Deadline deadline(limit::event);

	while (!(IO_URING_READ_ONCE(*ring.get()->sq.kflags) & IORING_SQ_NEED_WAKEUP)) {
		ASSERT_FALSE(deadline.over());
	}
	fill(ring);
	for (const bool by_signal : { true, false }) {
		told = -ETIME;
		waiter = 0;
		std::jthread thread(wait);

		while (!waiter || !thread_asleep(getpid(), waiter)) {
			ASSERT_FALSE(deadline.over())
			{
				TH_LOG("the queue is full, and its submitter does not wait");
			}
			deadline.back_off();
		}
		ASSERT_EQ(-ETIME, told.load());
		if (by_signal) {
			ASSERT_EQ(0, pthread_kill(thread.native_handle(), SIGUSR1));
		} else {
			ASSERT_LE(0, io_uring_enter(static_cast<unsigned>(ring.fd()), 0, 0,
						    IORING_ENTER_SQ_WAKEUP, nullptr));
		}
		thread.join();
		ASSERT_EQ(0, told.load());
	}
	ASSERT_EQ(0, ring.reap(64));
}

TEST_HARNESS_MAIN
