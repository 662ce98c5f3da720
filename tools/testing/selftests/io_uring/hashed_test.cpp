// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Buffered writes to one file are done one after the other, whichever workers there are, and
 * nothing else has to wait for them.  Databases that write to a log and read from other files
 * rely on that.  io_get_next_work() passes over a write whose hash another worker is busy with,
 * and io_wait_on_hash() and io_wq_hash_wake() see to it that a worker comes back for it.
 *
 * The hash is that of the inode, into 64 buckets, or 32 where a long has 32 bits.  So writes to
 * two files may wait for each other as well, by chance.
 */
#include <algorithm>
#include <array>
#include <errno.h>
#include <sys/mman.h>

#include "absent.hpp"
#include "harness.hpp"
#include "peer.hpp"
#include "race.hpp"

namespace {

/* Numbers that class Work does not use. */
enum Name : __u64 { first = 100, second, linked, other };
using Names = std::vector<__u64>;

/* Awaits @nr completions.  Their names in the order they came; 0 for what failed. */
Names reap(Uring &ring, unsigned nr)
{
	const Deadline deadline(limit::event);
	Names done;

	while (done.size() < nr) {
		struct io_uring_cqe *cqe;

		if (ring.wait(&cqe, deadline))
			break;
		done.push_back(cqe->res < 0 ? 0 : cqe->user_data);
		io_uring_cqe_seen(ring.get(), cqe);
	}
	return done;
}

bool comes_before(Name one, Name another, const Names &names)
{
	return std::ranges::find(names, one) < std::ranges::find(names, another);
}

} // namespace

/* @names are what reap() returned of so many requests. */
#define ASSERT_ALL_DONE(names, nr)						\
do {										\
	ASSERT_EQ(nr, (names).size())						\
	{									\
		TH_LOG("a request waits for ever");				\
	}									\
	ASSERT_EQ(0, std::ranges::count(names, 0U)) TH_LOG("a request failed");	\
} while (0)

/*
 * Has one worker blocked in the first write, which does not end before @page is released.
 * Another worker has done what it was blocked in, has found only the second write, and sleeps.
 * Opens @ring.  0, or -errno.
 */
static int stall(Uring &ring, const Fd &file, AbsentPage &page)
{
	Work work(Class::bounded);

	if (const int err = ring.open())
		return err;
	if (const int err = ring.limit_workers(2, 1))
		return err;
	if (const int err = work.submit(ring))
		return err;

	const WorkerSet waiting = WorkerSet::await(1);

	if (!waiting.await_asleep())
		return -ETIME;
	queue_write(ring, file, page.get(), first);
	if (io_uring_submit(ring.get()) != 1 || !page.await_reader())
		return -ETIME;
	queue_write(ring, file, "", second);
	if (io_uring_submit(ring.get()) != 1)
		return -EIO;
	if (const int err = work.release())
		return err;
	if (const int err = ring.reap(1))
		return err;
	return waiting.await_asleep() ? 0 : -ETIME;
}

TEST(second_write_waits_for_first)
{
	const Fd file = memory_file();
	AbsentPage page;
	Uring ring;

	ASSERT_TRUE(file);
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, stall(ring, file, page));
	ASSERT_EQ(0U, io_uring_cq_ready(ring.get())) TH_LOG("the second write did not wait");
	ASSERT_EQ(0, page.release());

	const auto done = reap(ring, 2);

	ASSERT_ALL_DONE(done, 2U);
	ASSERT_TRUE(comes_before(first, second, done));
}

/* So it does in the pool of another thread, whose worker is woken for it. */
TEST(other_pool_waits_for_first)
{
	const Fd file = memory_file();
	AbsentPage page;
	PeerThread peer;
	Uring ring;

	ASSERT_TRUE(file);
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, ring.open());
	queue_write(ring, file, page.get(), first);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_TRUE(page.await_reader());

	const WorkerSet mine = WorkerSet::now();

	ASSERT_EQ(1U, mine.count());
	ASSERT_EQ(1, peer.run([&] {
		queue_write(ring, file, "", second);
		return io_uring_submit(ring.get());
	}));

	const WorkerSet theirs = WorkerSet::await(2).without(mine);

	ASSERT_EQ(1U, theirs.count());
	ASSERT_TRUE(theirs.await_asleep());
	ASSERT_EQ(0U, io_uring_cq_ready(ring.get())) TH_LOG("the second write did not wait");
	ASSERT_EQ(0, page.release());

	const Completion seen = await_done(ring, 2);

	ASSERT_EQ(Completion::done, seen)
	{
		TH_LOG("%s", describe(seen));
	}
}

TEST(others_do_not_wait)
{
	const Fd file = memory_file();
	/* At least one is in another bucket, but for one run in 64 to the power of 8. */
	std::array<Fd, 8> files;
	AbsentPage page;
	Uring ring;

	ASSERT_TRUE(file);
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, stall(ring, file, page));

	queue_nop(ring, other);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_TRUE(reap(ring, 1) == Names{ other });

	for (Fd &another : files) {
		another = memory_file();
		ASSERT_TRUE(another);
		queue_write(ring, another, "", other);
	}
	ASSERT_EQ(static_cast<int>(files.size()), io_uring_submit(ring.get()));
	ASSERT_TRUE(reap(ring, 1) == Names{ other });

	ASSERT_EQ(0, page.release());
	const auto done = reap(ring, 1 + static_cast<unsigned>(files.size()));
	ASSERT_ALL_DONE(done, 1 + files.size());
}

/*
 * As another request ends, it must not let the second write begin.  A kernel that takes it for one
 * of the first bucket was wrong by one file in 64, so that it takes many files.  They stay open, as
 * the inode of the next one would be in the same place in memory.
 */
TEST(second_write_waits_for_no_other)
{
	std::array<Fd, 192> files;
	/* On a slow machine, fewer files have to do. */
	const Deadline since_start(limit::event);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	/* One is in the first write, the other does the rest, one after the other. */
	ASSERT_EQ(0, ring.limit_workers(2, 1));
	for (Fd &file : files) {
		AbsentPage page;

		if (since_start.spent() > limit::prompt)
			break;
		file = memory_file();
		ASSERT_TRUE(file);
		if (page.open())
			SKIP(return, "%s", skip::no_userfaultfd);
		queue_write(ring, file, page.get(), first);
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		ASSERT_TRUE(page.await_reader());
		queue_nop(ring, other);
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		ASSERT_TRUE(reap(ring, 1) == Names{ other });
		queue_write(ring, file, "", second);
		queue_nop(ring, other);
		ASSERT_EQ(2, io_uring_submit(ring.get()));
		/* Whoever does this one has come past the write. */
		ASSERT_TRUE(reap(ring, 1) == Names{ other })
		{
			TH_LOG("the write did not wait: see io_worker_handle_work()");
		}
		ASSERT_EQ(0, page.release());
		ASSERT_TRUE((reap(ring, 2) == Names{ first, second }));
	}
}

/* What is linked to a write that others wait for is not lost behind them. */
TEST(links_between_writes)
{
	const Fd file = memory_file();
	Work work(Class::bounded);
	Uring ring;

	ASSERT_TRUE(file);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.occupy(ring));
	queue_write(ring, file, "", first, IOSQE_IO_LINK);
	queue_nop(ring, linked);
	queue_write(ring, file, "", second);
	ASSERT_EQ(3, io_uring_submit(ring.get()));
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(0, ring.reap(1));

	const auto done = reap(ring, 3);

	ASSERT_ALL_DONE(done, 3U);
	ASSERT_TRUE(comes_before(first, linked, done));
	ASSERT_TRUE(comes_before(first, second, done));
}

TEST_HARNESS_MAIN
