// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A write that sleeps halfway has another worker come for what is queued behind it, and reads do
 * not wait for it.  Programs that write to slow files rely on that.
 * io_wq_dec_running() asks for the worker, and io_wq_hash_defer() whether there is a use for it.
 */
#include <array>
#include <sys/uio.h>

#include "absent.hpp"
#include "harness.hpp"
#include "workers.hpp"

namespace {

enum Name : __u64 { halfway = 100, other_file, nop, reading };

/*
 * A write of two pages that are absent.  The only worker has begun it, and waits for the first
 * page.  Then it goes on to the second one, and there is room for another worker.
 */
class Halfway {
public:
	/* 0, or -errno: that of AbsentPage::open() where there is none. */
	int begin(Uring &ring, const Fd &file)
	{
		if (const int err = first.open() ?: last.open())
			return err;
		parts = { { { const_cast<void *>(first.get()), 1 },
			    { const_cast<void *>(last.get()), 1 } } };
		if (const int err = ring.limit_workers(1, 1))
			return err;

		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

		io_uring_prep_writev(sqe, file.get(), parts.data(), parts.size(), 0);
		sqe->user_data = halfway;
		return io_uring_submit(ring.get()) == 1 && first.await_reader() ? 0 : -ETIME;
	}
	/* Lets the worker sleep anew.  0, or -errno. */
	int go_on(Uring &ring)
	{
		if (const int err = ring.limit_workers(2, 1) ?: first.release())
			return err;
		return last.await_reader() && WorkerSet::now().await_asleep() ? 0 : -ETIME;
	}
	int end() { return last.release(); }

private:
	AbsentPage first, last;
	std::array<struct iovec, 2> parts = {};
};

} // namespace

const char *program_cannot_test(char **)
{
	return AbsentPage().open() ? skip::no_userfaultfd : nullptr;
}

/* Only writes are done one after the other: see io_prep_async_work(). */
TEST(read_does_not_wait)
{
	const Fd file = memory_file();
	struct io_uring_sqe *sqe;
	Halfway write;
	Uring ring;
	char byte;

	ASSERT_TRUE(file);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, write.begin(ring, file));
	ASSERT_EQ(0, write.go_on(ring));
	sqe = io_uring_get_sqe(ring.get());
	io_uring_prep_read(sqe, file.get(), &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = reading;
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(1U, ring.await_ready(1))
	{
		TH_LOG("a read waits for a write to its file");
	}
	ASSERT_LE(0, ring.result_of(reading));
	ASSERT_EQ(0, write.end());
	ASSERT_EQ(2U, ring.await_ready(2));
	ASSERT_EQ(2, ring.result_of(halfway));
}

FIXTURE(others) {};
FIXTURE_SETUP(others) {}
FIXTURE_TEARDOWN(others) {}

FIXTURE_VARIANT(others)
{
	Name queued;
};

FIXTURE_VARIANT_ADD(others, behind_write_to_another_file) { .queued = other_file };
FIXTURE_VARIANT_ADD(others, behind_nop) { .queued = nop };

/* They are done meanwhile. */
TEST_F(others, get_a_worker)
{
	/* Another file may have the same hash by chance, one in 64: then the next one is tried. */
	std::array<Fd, 4> files;
	bool done = false;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (Fd &another : files) {
		const Fd file = memory_file();
		Halfway write;

		another = memory_file();
		ASSERT_TRUE(file);
		ASSERT_TRUE(another);
		ASSERT_EQ(0, write.begin(ring, file));
		if (variant->queued == nop)
			queue_nop(ring, nop);
		else
			queue_write(ring, another, "", other_file);
		ASSERT_EQ(1, io_uring_submit(ring.get()));
		ASSERT_EQ(0U, io_uring_cq_ready(ring.get()));
		ASSERT_EQ(0, write.go_on(ring));
		done = ring.await_ready(1, limit::prompt) == 1;
		ASSERT_EQ(0, write.end());
		ASSERT_EQ(2U, ring.await_ready(2));
		ASSERT_EQ(0, ring.discard(2));
		if (done)
			break;
	}
	ASSERT_TRUE(done)
	{
		TH_LOG("no worker comes for what is queued: see io_wq_dec_running()");
	}
}

TEST_HARNESS_MAIN
