// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where no worker can be made, requests end: with -ECANCELED, or by a worker if one can be made
 * soon after.  A worker that is there goes on, and leaves with the last ring.  Services with a
 * tight RLIMIT_NPROC rely on that.  Without exit-on-idle an old worker took such a request; now
 * there may be none.  io_should_retry_thread() has the kernel try three times more.
 */
#include <errno.h>
#include <sys/resource.h>

#include "promise.hpp"

/*
 * Becomes another user, as RLIMIT_NPROC never binds root.  Returns a null pointer, or why that is
 * not possible.
 */
static const char *become_bound()
{
	if (geteuid())
		return nullptr;
	if (become_user(nobody))
		return skip::no_other_user;

	Uring ring;
	const int err = ring.open();

	return err == -EPERM || err == -ENOMEM ? skip::not_this_user : nullptr;
}

/* Sets RLIMIT_NPROC to 0.  False if that does not bind this process. */
static bool forbid_threads(const struct rlimit &nproc)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = nproc.rlim_max };

	setrlimit(RLIMIT_NPROC, &none);
	return in_child([] { return 0; }) < 0;
}

FIXTURE(without_threads) {};
FIXTURE_SETUP(without_threads) {}
FIXTURE_TEARDOWN(without_threads) {}

FIXTURE_VARIANT(without_threads)
{
	/* Whether threads are allowed again before the kernel gives up, which takes 30 ms. */
	bool only_at_first = false;
};

FIXTURE_VARIANT_ADD(without_threads, for_good) {};
FIXTURE_VARIANT_ADD(without_threads, at_first) { .only_at_first = true };

/* The pool is empty, so that the request must not wait for a worker that cannot be made. */
TEST_F(without_threads, request_ends)
{
	Work work(Class::bounded);
	struct rlimit nproc;
	Uring ring;

	if (const char *why = become_bound())
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));
	const WorkerSet old = WorkerSet::now();
	const RingEnd end = ring.end();

	ring.close();
	ASSERT_WORKERS_EXIT(old, end);

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	if (!forbid_threads(nproc))
		SKIP(return, "%s", skip::no_nproc_limit);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.submit(ring));
	if (variant->only_at_first) {
		ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
		ASSERT_EQ(1U, WorkerSet::await(1).count());
		ASSERT_EQ(0, work.release());
		ASSERT_EQ(0, ring.reap(1));
		return;
	}
	ASSERT_EQ(0, ring.reap(1, -ECANCELED));

	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(0, serve(ring, Class::bounded));
}

/* A request that can have no worker of its own waits for the one that is there. */
TEST(request_waits_for_busy_worker)
{
	Work work(Class::bounded);
	struct rlimit nproc;
	Uring ring;

	if (const char *why = become_bound())
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.submit(ring));
	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	/* Before, it may be taken for a free one. */
	ASSERT_TRUE(worker.await_asleep());
	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	if (!forbid_threads(nproc))
		SKIP(return, "%s", skip::no_nproc_limit);
	queue_nop(ring, 0);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	/* Longer than the kernel tries again. */
	ASSERT_EQ(0U, ring.await_ready(1, limit::glance))
	{
		TH_LOG("cancelled, though there is a worker: see create_worker_cont()");
	}
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(2U, ring.await_ready(2));
	ASSERT_EQ(0, ring.result_of(0));
}

TEST(process_limit_is_lowered)
{
	struct rlimit nproc;
	Uring ring;

	if (const char *why = become_bound())
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	if (!forbid_threads(nproc))
		SKIP(return, "%s", skip::no_nproc_limit);
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
