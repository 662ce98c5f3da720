// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * An SQPOLL thread does not hold rings: to close(2), one is released with its last
 * descriptor, whatever its thread is kept from.  For all who debug or freeze programs with
 * IORING_SETUP_SQPOLL, and for all others on their machine, as each ring that does not end
 * has a place in a queue of all: see stranger_test.  io_sq_thread_stop() must not wait for
 * the thread to exit.
 */
#include <errno.h>

#include "child.hpp"
#include "harness.hpp"
#include "promise.hpp"
#include "tracer.hpp"

static int open_sqpoll(Uring &ring, int wq_fd = -1)
{
	struct io_uring_params p = {};

	p.flags = IORING_SETUP_SQPOLL | (wq_fd < 0 ? 0 : IORING_SETUP_ATTACH_WQ);
	p.sq_thread_idle = 1;
	p.wq_fd = static_cast<__u32>(wq_fd);
	return ring.open(p);
}

const char *program_cannot_test(char **)
{
	Uring ring;
	const int err = open_sqpoll(ring);

	return err == -EPERM || err == -EACCES ? skip::no_sqpoll : nullptr;
}

FIXTURE(stopped) {};
FIXTURE_SETUP(stopped) {}
FIXTURE_TEARDOWN(stopped) {}

FIXTURE_VARIANT(stopped)
{
	/* Another ring keeps the thread alive. */
	bool shared;
};

FIXTURE_VARIANT_ADD(stopped, with_another_ring) { .shared = true };
FIXTURE_VARIANT_ADD(stopped, with_its_last_ring) { .shared = false };

/*
 * By a debugger, which takes one thread of the process.  Each ring that does not end has
 * one of the 64 places of the machine: see stranger_test.
 */
TEST_F(stopped, holds_no_ring)
{
	const bool shared = variant->shared;
	PipeEnds ended;
	Process child;

	ASSERT_EQ(0, ended.open());
	const int files[] = { ended.wr.get(), -1 };

	ASSERT_EQ(0, child.start([&](Process &self) {
		Uring first, second;
		Uring &ring = shared ? second : first;

		if (open_sqpoll(first) || (shared && open_sqpoll(second, first.fd())) ||
		    serve(ring, Class::bounded) || io_uring_register_files(ring.get(), files, 2))
			return 1;
		ended.wr.close();
		self.step();
		ring.close();
		self.step();
		return 0;
	}));
	ended.wr.close();
	ASSERT_TRUE(child.await_step());

	const RingEnd end(std::move(ended.rd));
	const WorkerSet thread = WorkerSet::sqpoll(child.pid());

	ASSERT_EQ(1U, thread.count());
	if (trace(thread.tid()))
		SKIP(return, "%s", skip::no_ptrace);
	ASSERT_EQ(0, stop_traced(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_TRUE(child.await_step()) TH_LOG("close(2) waits for an SQPOLL thread that is stopped");
	ASSERT_TRUE(end.await())
	{
		TH_LOG("a closed ring waits for its SQPOLL thread, which is stopped");
		TH_LOG("see io_sq_thread_stop() in io_uring/sqpoll.c");
	}
	ASSERT_EQ(0, let_go(thread.tid()));
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
}

TEST_HARNESS_MAIN
