// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * When a worker completes a request, whoever waits for that is woken, however he waits: by
 * io_uring_enter(2) with IORING_ENTER_GETEVENTS, by poll(2), which says by io_uring(7) when the
 * completion queue has an entry, or by an eventfd (io_uring_register_eventfd(3)).  All who use
 * rings rely on that.  Workers post completions by io_req_complete_post().
 */
#include <atomic>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

#include "harness.hpp"
#include "work.hpp"

FIXTURE(waiter) {};
FIXTURE_SETUP(waiter) {}
FIXTURE_TEARDOWN(waiter) {}

FIXTURE_VARIANT(waiter)
{
	/* Returns once there is a completion. */
	void (*wait)(Uring &ring, int event);
};

FIXTURE_VARIANT_ADD(waiter, in_enter) {
	.wait = [](Uring &ring, int) {
		struct io_uring_cqe *cqe;

		while (io_uring_wait_cqe(ring.get(), &cqe) == -EINTR) {
		}
	}
};
FIXTURE_VARIANT_ADD(waiter, in_poll) {
	.wait = [](Uring &ring, int) {
		struct pollfd readable = { .fd = ring.fd(), .events = POLLIN, .revents = 0 };

		while (poll(&readable, 1, -1) < 0) {
		}
	}
};
FIXTURE_VARIANT_ADD(waiter, for_eventfd) {
	.wait = [](Uring &, int event) {
		eventfd_t count;

		while (eventfd_read(event, &count) < 0) {
		}
	}
};

TEST_F(waiter, is_woken)
{
	const Fd event(eventfd(0, EFD_CLOEXEC));
	Work work(Class::bounded);
	std::atomic<pid_t> tid = 0;
	PipeEnds told;
	Uring ring;

	ASSERT_EQ(0, event.error());
	ASSERT_EQ(0, told.open());
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_eventfd(ring.get(), event.get()));
	ASSERT_EQ(0, work.occupy(ring));

	/* If nobody wakes it, it ends with the test. */
	std::thread waiter([&] {
		tid = gettid();
		variant->wait(ring, event.get());
		(void)!write(told.wr.get(), "", 1);
	});
	const Deadline deadline(limit::event);

	while (!(tid && thread_asleep(getpid(), tid))) {
		ASSERT_FALSE(deadline.over());
		deadline.back_off();
	}
	ASSERT_EQ(0, work.release());
	ASSERT_TRUE(await_byte(told.rd.get()))
	{
		TH_LOG("nobody is woken by a completion of a worker: see io_cq_unlock_post()");
	}
	waiter.join();
	ASSERT_EQ(0, ring.reap(1));
}

TEST_HARNESS_MAIN
