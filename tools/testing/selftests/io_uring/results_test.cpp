// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request that is cut short as it blocks in a worker ends with success or with an error that
 * programs know: -EINTR, -ECANCELED or -EAGAIN.  By io_uring(7) the result is what the system call
 * would return, with an error negated, and include/linux/errno.h says of numbers from 512 on that
 * they "should never be seen by user programs".  A process that is suspended, traced, or moved to
 * another machine takes -512 for data.  A system call is restarted as it returns to user space;
 * what io_issue_sqe() calls is not.
 */
#include <algorithm>
#include <array>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>

#include "cgroup.hpp"
#include "child.hpp"
#include "harness.hpp"
#include "tracer.hpp"
#include "workers.hpp"

namespace {

constexpr unsigned nr = 2;

/* What a result may be that was cut short, or went on. */
bool known(int res)
{
	constexpr std::array errors{ -EINTR, -ECANCELED, -EAGAIN };

	return res >= 0 || std::ranges::count(errors, res);
}

/* The results of @nr requests, in memory that both processes see; 0 or -ETIME. */
int collect(Uring &ring, int *results)
{
	if (ring.await_ready(nr) < nr)
		return -ETIME;

	struct io_uring_cqe *cqe;
	unsigned head, i = 0;

	io_uring_for_each_cqe(ring.get(), head, cqe) {
		if (cqe->user_data != LIBURING_UDATA_TIMEOUT && i < nr)
			results[i++] = cqe->res;
	}
	return 0;
}

/* Cancels whatever there is. */
int cancel_all(Uring &ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = LIBURING_UDATA_TIMEOUT;
	return io_uring_submit(ring.get()) == 1 ? 0 : -EIO;
}

} // namespace

FIXTURE(cut_short)
{
	int *results;
};

enum class Cut { stop, freeze, trace, cancel, end_of_thread };

FIXTURE_VARIANT(cut_short)
{
	Class kind;
	Cut by;
};

FIXTURE_VARIANT_ADD(cut_short, open_stopped) { .kind = Class::bounded, .by = Cut::stop };
FIXTURE_VARIANT_ADD(cut_short, splice_stopped) { .kind = Class::unbounded, .by = Cut::stop };
FIXTURE_VARIANT_ADD(cut_short, open_frozen) { .kind = Class::bounded, .by = Cut::freeze };
FIXTURE_VARIANT_ADD(cut_short, splice_frozen) { .kind = Class::unbounded, .by = Cut::freeze };
FIXTURE_VARIANT_ADD(cut_short, open_traced) { .kind = Class::bounded, .by = Cut::trace };
FIXTURE_VARIANT_ADD(cut_short, splice_traced) { .kind = Class::unbounded, .by = Cut::trace };
FIXTURE_VARIANT_ADD(cut_short, open_cancelled) { .kind = Class::bounded, .by = Cut::cancel };
FIXTURE_VARIANT_ADD(cut_short, splice_cancelled)
{
	.kind = Class::unbounded, .by = Cut::cancel
};
FIXTURE_VARIANT_ADD(cut_short, open_of_thread_that_ends)
{
	.kind = Class::bounded, .by = Cut::end_of_thread
};
FIXTURE_VARIANT_ADD(cut_short, splice_of_thread_that_ends)
{
	.kind = Class::unbounded, .by = Cut::end_of_thread
};

FIXTURE_SETUP(cut_short)
{
	void *const page = mmap(nullptr, nr * sizeof(int), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, page);
	self->results = static_cast<int *>(page);
}

FIXTURE_TEARDOWN(cut_short) {}

TEST_F(cut_short, result_is_known)
{
	const Cut by = variant->by;
	Cgroup freezer;
	Process child;

	if (by == Cut::freeze && freezer.make_freezer())
		SKIP(return, "%s", skip::no_freezer);
	ASSERT_EQ(0, child.start([&](Process &us) {
		Work work(variant->kind, nr);
		Uring ring;

		if (ring.open() || work.open())
			return 1;
		if (by == Cut::end_of_thread) {
			std::thread([&] {
				if (work.submit(ring))
					_exit(2);
				us.step();
			}).join();
		} else {
			if (work.submit(ring))
				return 2;
			us.step();
		}
		/* A request that was cut short is done; one that went on is so when released. */
		if (by == Cut::cancel && cancel_all(ring))
			return 3;
		if (by == Cut::stop || by == Cut::freeze || by == Cut::trace)
			work.release();
		return collect(ring, self->results) ? 4 : 0;
	}));
	ASSERT_TRUE(child.await_step());

	const WorkerSet workers = WorkerSet::await(nr, child.pid());

	ASSERT_EQ(nr, workers.count());
	ASSERT_TRUE(workers.await_asleep());
	if (by == Cut::stop) {
		ASSERT_EQ(0, child.signal(SIGSTOP));
		ASSERT_TRUE(WIFSTOPPED(child.await_end(WUNTRACED)));
		ASSERT_EQ(0, child.signal(SIGCONT));
	} else if (by == Cut::freeze) {
		ASSERT_EQ(0, freezer.enter(child.pid()));
		ASSERT_EQ(0, freezer.freeze());
		ASSERT_EQ(0, freezer.thaw());
	} else if (by == Cut::trace) {
		for (const pid_t tid : workers.tids()) {
			if (trace(tid))
				SKIP(return, "%s", skip::no_ptrace);
			ASSERT_EQ(0, stop_traced(tid));
			ASSERT_EQ(0, let_go(tid));
		}
	}
	ASSERT_EQ(0, child.go());
	ASSERT_EQ(0, child.await_end());
	for (unsigned i = 0; i < nr; i++) {
		ASSERT_TRUE(known(self->results[i]))
		{
			TH_LOG("a request that was cut short ended with %d, which no manual has",
			       self->results[i]);
			TH_LOG("v7.3.2 cures this: see io_issue_sqe() in io_uring/io_uring.c");
		}
	}
}

TEST_HARNESS_MAIN
