// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Buffered writes to one file are done one after the other, whichever workers there
 * are, and nothing but those has to wait.  For databases that write to a log and
 * read from other files.  io_get_next_work() passes by what is hashed like work that
 * is under way; io_wait_on_hash() and io_wq_hash_wake() see to it that somebody comes
 * back for it.
 */
#include <algorithm>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "harness.hpp"
#include "peer.hpp"
#include "race.hpp"

namespace {

constexpr unsigned long_write = 64 << 20;

/* Numbers that class Work does not use. */
enum Name : __u64 { first = 100, second, linked, other };

/* A request for a worker, and its name.  Without IOSQE_ASYNC, so that it is hashed. */
void queue_write(Ring &ring, const Fd &file, unsigned len, Name name, unsigned flags = 0)
{
	static const void *const zeroes = mmap(nullptr, long_write, PROT_READ,
					       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_write(sqe, file.get(), zeroes, len, 0);
	sqe->flags |= flags;
	sqe->user_data = name;
}

void queue_nop(Ring &ring, Name name)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = name;
}

/* True if the write of @file has begun, by another than us; false after limit::event. */
bool await_begin(const Fd &file)
{
	const Deadline deadline(limit::event);
	struct stat st = {};

	/* No event tells of it. */
	while (fstat(file.get(), &st) == 0 && st.st_size == 0 && !deadline.over()) {
	}
	return st.st_size > 0;
}

/* Awaits @nr completions.  Their names in the order they came; 0 for what failed. */
std::vector<__u64> reap(Ring &ring, unsigned nr)
{
	const Deadline deadline(limit::event);
	std::vector<__u64> names;

	while (names.size() < nr && !deadline.over()) {
		struct io_uring_cqe *cqe;

		if (io_uring_peek_cqe(ring.get(), &cqe)) {
			deadline.back_off();
			continue;
		}
		names.push_back(cqe->res < 0 ? 0 : cqe->user_data);
		io_uring_cqe_seen(ring.get(), cqe);
	}
	return names;
}

bool comes_before(Name one, Name another, const std::vector<__u64> &names)
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
		dump_threads();							\
	}									\
	ASSERT_EQ(0, std::ranges::count(names, 0U)) TH_LOG("a request failed");	\
} while (0)

constexpr unsigned tries = 20;

/*
 * One worker is at the first write when another, done with what it was blocked in,
 * finds but the second one.  To be called with a ring of its own.  0, or -errno:
 * -EAGAIN if the first write was too quick.
 */
static int stall(Ring &ring, const Fd &file)
{
	unsigned two_workers[2] = { 2, 1 };
	Work work(Class::bounded);

	if (const int err = ring.open())
		return err;
	if (const int err = io_uring_register_iowq_max_workers(ring.get(), two_workers))
		return err;
	if (const int err = work.submit(ring))
		return err;
	if (!Workers::await(1).await_asleep())
		return -ETIME;
	queue_write(ring, file, long_write, first);
	if (io_uring_submit(ring.get()) != 1 || !await_begin(file))
		return -ETIME;
	queue_write(ring, file, 1, second);
	if (io_uring_submit(ring.get()) != 1)
		return -EIO;
	if (const int err = work.release())
		return err;

	const auto done = reap(ring, 1);

	if (done.empty())
		return -ETIME;
	return done.front() == first ? -EAGAIN : done.front() ? 0 : -EIO;
}

TEST(second_write_waits_for_first)
{
	for (unsigned i = 0; i < tries; i++) {
		const Fd file = memory_file();
		Ring ring;

		ASSERT_TRUE(file);
		const int err = stall(ring, file);

		if (err == -EAGAIN)
			continue;
		ASSERT_EQ(0, err) dump_threads();
		const auto done = reap(ring, 2);

		ASSERT_ALL_DONE(done, 2U);
		ASSERT_TRUE(comes_before(first, second, done))
			TH_LOG("the second write did not wait for the first");
		return;
	}
	TH_LOG("in %u tries the first write was too quick: this proves nothing", tries);
}

/* So it does in the pool of another thread, whose worker is woken for it. */
TEST(other_pool_waits_for_first)
{
	const Fd file = memory_file();
	Peer peer;
	Ring ring;
	int submitted = 0;

	ASSERT_TRUE(file);
	ASSERT_EQ(0, ring.open());
	queue_write(ring, file, long_write, first);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_TRUE(await_begin(file)) dump_threads();
	ASSERT_TRUE(peer.run([&] {
		queue_write(ring, file, 1, second);
		submitted = io_uring_submit(ring.get());
	}));
	ASSERT_EQ(1, submitted);

	const Fate fate = await_done(ring, 2);

	ASSERT_EQ(Fate::done, fate)
	{
		TH_LOG("%s", describe(fate));
		dump_threads();
	}
}

/* It is not slower than a long write each time, however slow the machine. */
TEST(others_do_not_wait)
{
	unsigned missed = 0, waited = 0;

	while (missed < tries && waited < tries) {
		const Fd file = memory_file();
		Ring ring;

		ASSERT_TRUE(file);
		const int err = stall(ring, file);

		if (err == -EAGAIN) {
			missed++;
			continue;
		}
		ASSERT_EQ(0, err) dump_threads();
		queue_nop(ring, other);
		ASSERT_EQ(1, io_uring_submit(ring.get()));

		const auto done = reap(ring, 3);

		ASSERT_ALL_DONE(done, 3U);
		if (comes_before(other, first, done))
			return;
		waited++;
	}
	ASSERT_GT(tries, waited) TH_LOG("a request waited for a write that was none of its affairs,"
					" each time");
	TH_LOG("in %u tries the first write was too quick: this proves nothing", missed);
}

/* What is linked to a write that others wait for is not lost behind them. */
TEST(links_between_writes)
{
	unsigned one_worker[2] = { 1, 1 };
	const Fd file = memory_file();
	Work work(Class::bounded);
	Ring ring;

	ASSERT_TRUE(file);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(ring.get(), one_worker));
	ASSERT_EQ(0, work.submit(ring));
	queue_write(ring, file, 1, first, IOSQE_IO_LINK);
	queue_nop(ring, linked);
	queue_write(ring, file, 1, second);
	ASSERT_EQ(3, io_uring_submit(ring.get()));
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(0, ring.reap(1)) dump_threads();

	const auto done = reap(ring, 3);

	ASSERT_ALL_DONE(done, 3U);
	ASSERT_TRUE(comes_before(first, linked, done));
	ASSERT_TRUE(comes_before(first, second, done));
}

TEST_HARNESS_MAIN
