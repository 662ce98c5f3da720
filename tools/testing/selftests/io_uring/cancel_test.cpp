// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A request that waits in io-wq can be cancelled, wherever it waits, and nothing is left of it
 * then.  Writes are hashed by their file into 64 buckets.  A worker takes all queued writes of a
 * bucket off the list at once, and the pool remembers the last one, for the next write to follow
 * it.  Programs that cancel I/O and go on with the same file rely on that.
 * io_wq_worker_cancel() has to look at what a worker has yet to start, and
 * io_wq_remove_pending() must not remember a request that is no write.
 */
#include <array>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "absent.hpp"
#include "cancel.hpp"
#include "harness.hpp"
#include "workers.hpp"

/*
 * Of three writes, the first does not end before the last is cancelled.  Once it has begun, the
 * worker has taken all three.
 */
TEST(write_not_started)
{
	enum : __u64 { first = 100, second, last };
	const Fd file = memory_file();
	AbsentPage page;
	Work work(Class::bounded);
	Uring ring;

	ASSERT_TRUE(file);
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.occupy(ring));
	queue_write(ring, file, page.get(), first);
	queue_write(ring, file, "", second);
	queue_write(ring, file, "", last);
	ASSERT_EQ(3, io_uring_submit(ring.get()));
	ASSERT_EQ(0U, io_uring_cq_ready(ring.get()))
	{
		TH_LOG("a write did not wait for the worker");
	}
	ASSERT_EQ(0, work.release());
	ASSERT_TRUE(page.await_reader());

	const int found = cancel(ring, { .name = last });

	ASSERT_EQ(-EALREADY, found)
	{
		TH_LOG("to cancel a write that a worker has yet to start: %s", strerror(-found));
		TH_LOG("v7.3.2 cures this: see io_wq_worker_cancel() in io_uring/io-wq.c");
	}
	ASSERT_EQ(0, page.release());
	/* All of these, the first work and the cancellation. */
	ASSERT_EQ(5U, ring.await_ready(5));
	ASSERT_EQ(1, ring.result_of(first));
	ASSERT_EQ(1, ring.result_of(second));
	ASSERT_EQ(-ECANCELED, ring.result_of(last))
	{
		TH_LOG("a write was done in spite of its cancellation");
	}
}

/*
 * A write is cancelled that is queued behind a request which is no write.  If the pool then
 * remembers that request, the next write to the file follows it and is lost.  That happened for
 * one hash in 64, so that it takes many files, more than may be open: they stay mapped, so that
 * the inodes of later ones are elsewhere in memory.  The ring stays open, as the pool remembers
 * a request in its memory, and would corrupt that of others.
 */
TEST(next_write_to_same_file)
{
	std::array<Fd, 192> files;
	/* On a slow machine, fewer files have to do. */
	const Deadline since_start(limit::event);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (int batch = 0; batch < 3 && since_start.spent() < limit::event / 2; batch++) {
		Work work(Class::bounded), behind(Class::bounded);

		ASSERT_EQ(0, work.occupy(ring));
		ASSERT_EQ(0, behind.submit(ring));
		for (Fd &file : files) {
			const auto name = static_cast<__u64>(&file - files.data()) + 100;

			file = memory_file();
			ASSERT_TRUE(file)
			{
				TH_LOG("memfd_create: %s", strerror(errno));
			}
			mmap(nullptr, 1, PROT_READ, MAP_SHARED, file.get(), 0);
			queue_write(ring, file, "", name);
			ASSERT_EQ(1, io_uring_submit(ring.get()));
			ASSERT_EQ(0, cancel(ring, { .name = name }))
			{
				TH_LOG("file %llu", name - 100);
			}
			ASSERT_EQ(-ECANCELED, ring.result_of(name))
			{
				TH_LOG("file %llu", name - 100);
			}
			io_uring_cq_advance(ring.get(), io_uring_cq_ready(ring.get()));
		}
		ASSERT_EQ(0, work.release());
		ASSERT_EQ(0, behind.release());
		ASSERT_EQ(0, ring.reap(2));

		for (const Fd &file : files) {
			queue_write(ring, file, "", 0);
			ASSERT_EQ(1, io_uring_submit(ring.get()));
			ASSERT_EQ(0, ring.reap(1, 1))
			{
				TH_LOG("a write is lost after another to its file was cancelled");
				TH_LOG("v7.1 cures this: see io_wq_remove_pending()");
			}
		}
	}
}

/* The next write follows the first one, which is left, and not the request between. */
TEST(last_of_two_writes)
{
	enum : __u64 { first = 100, last, next };
	const Fd file = memory_file();
	Work work(Class::bounded), between(Class::bounded);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.occupy(ring));
	ASSERT_TRUE(file);
	queue_write(ring, file, "", first);
	queue_write(ring, file, "", last);
	ASSERT_EQ(2, io_uring_submit(ring.get()));
	ASSERT_EQ(0, cancel(ring, { .name = last }));
	ASSERT_EQ(0, between.submit(ring));
	queue_write(ring, file, "", next);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, work.release());
	/* All of these, the first work and the cancellation. */
	const unsigned done = ring.await_ready(5);

	ASSERT_EQ(1, ring.result_of(first));
	ASSERT_EQ(-ECANCELED, ring.result_of(last));
	ASSERT_EQ(1, ring.result_of(next))
	{
		TH_LOG("a write does not follow those to its file, after one was cancelled");
	}
	ASSERT_EQ(5U, done);
	ASSERT_EQ(0, between.release());
	ASSERT_EQ(6U, ring.await_ready(6));
}

FIXTURE(links) {};
FIXTURE_SETUP(links) {}
FIXTURE_TEARDOWN(links) {}

FIXTURE_VARIANT(links)
{
	/* Whether the first request waits for a worker, or a worker is blocked in it. */
	bool queued;
};

FIXTURE_VARIANT_ADD(links, of_running) { .queued = false };
FIXTURE_VARIANT_ADD(links, of_queued) { .queued = true };

/*
 * By io_uring_enter(2), a request of a chain that fails has all that follow it complete with
 * -ECANCELED.
 */
TEST_F(links, are_cancelled_each)
{
	constexpr unsigned nr = 4;
	Work work(Class::bounded), chain(Class::bounded, nr, IOSQE_IO_LINK);
	unsigned head, seen = 0, cancelled = 0;
	struct io_uring_cqe *cqe;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	if (variant->queued) {
		ASSERT_EQ(0, work.occupy(ring));
	}
	ASSERT_EQ(0, chain.submit(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(worker.await_asleep());
	/*
	 * @work has the same user_data as the chain.  The kernel looks first at what waits for a
	 * worker, and so finds the chain.
	 */
	ASSERT_EQ(variant->queued ? 0 : -EALREADY, cancel(ring, { .name = chain.user_data() }));
	/* All of these, and the cancellation. */
	ASSERT_EQ(nr + 1, ring.await_ready(nr + 1))
	{
		TH_LOG("the chain is cancelled, but not all of its requests complete");
		TH_LOG("see io_disarm_next()");
	}
	io_uring_for_each_cqe(ring.get(), head, cqe) {
		if (cqe->user_data != chain.user_data())
			continue;
		/* The first one may end with another error, as a worker may be blocked in it. */
		cancelled += cqe->res == -ECANCELED;
		seen++;
	}
	ASSERT_EQ(nr, seen);
	ASSERT_LE(nr - 1, cancelled)
	{
		TH_LOG("links behind a cancelled request are not cancelled: see io_disarm_next()");
	}
	if (variant->queued) {
		ASSERT_EQ(0, work.release());
		ASSERT_EQ(nr + 2, ring.await_ready(nr + 2));
	}
}

TEST_HARNESS_MAIN
