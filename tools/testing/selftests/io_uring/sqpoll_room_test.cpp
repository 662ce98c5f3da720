// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A program that has filled the submission queue of an SQPOLL ring calls io_uring_enter(2) with
 * IORING_ENTER_SQ_WAIT.  The call returns once there is room in the queue, or with a signal, and
 * not before.  Programs that submit faster than the SQPOLL thread rely on that.
 * io_sqpoll_wait_sq() waits, and io_sq_thread() wakes it.
 */
#include <atomic>
#include <errno.h>
#include <signal.h>
#include <thread>

#include "harness.hpp"
#include "workers.hpp"

/* Fills the submission queue, and does not wake the thread. */
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

TEST(submitter_waits_for_room)
{
	/* What the wait returned, or -ETIME as long as it lasts. */
	std::atomic<int> result = -ETIME;
	std::atomic<pid_t> waiter = 0;
	struct sigaction note = {};
	Uring ring;
	const auto wait = [&] {
		waiter = gettid();
		result = io_uring_enter(static_cast<unsigned>(ring.fd()), 0, 0,
					IORING_ENTER_SQ_WAIT, nullptr);
	};

	note.sa_handler = [](int) {};
	ASSERT_EQ(0, sigaction(SIGUSR1, &note, nullptr));
	const int err = ring.open_sqpoll();

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);

	const Deadline deadline(limit::event);
	const auto awaited = [&] {
		while (result == -ETIME && !deadline.over())
			deadline.back_off();
		return result.load();
	};

	std::thread(wait).detach();
	ASSERT_EQ(0, awaited()) TH_LOG("there is room, and the submitter waits");
	/* On 32 bit, the thread of a new ring may not sleep before it had work: see idle_cost_test. */
	io_uring_prep_nop(io_uring_get_sqe(ring.get()));
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1));
	/* A thread that sleeps takes no entry before it is woken. */
	while (!(IO_URING_READ_ONCE(*ring.get()->sq.kflags) & IORING_SQ_NEED_WAKEUP)) {
		ASSERT_FALSE(deadline.over());
		deadline.back_off();
	}
	fill(ring);
	for (const bool by_signal : { true, false }) {
		result = -ETIME;
		waiter = 0;
		std::jthread thread(wait);

		while (!waiter || !thread_asleep(getpid(), waiter)) {
			ASSERT_FALSE(deadline.over())
			{
				TH_LOG("the queue is full, but the submitter does not wait");
			}
			deadline.back_off();
		}
		ASSERT_EQ(-ETIME, result.load());
		if (by_signal) {
			ASSERT_EQ(0, pthread_kill(thread.native_handle(), SIGUSR1));
		} else {
			ASSERT_LE(0, io_uring_enter(static_cast<unsigned>(ring.fd()), 0, 0,
						    IORING_ENTER_SQ_WAKEUP, nullptr));
		}
		ASSERT_EQ(0, awaited())
		{
			TH_LOG("%s, and the submitter waits",
			       by_signal ? "a signal came" : "there is room");
		}
	}
	ASSERT_EQ(0, ring.reap(64));
}

TEST_HARNESS_MAIN
