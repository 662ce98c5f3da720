// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Whoever has the ring can cancel what another thread submitted to it, and a cancellation by
 * descriptor spares requests to the same file that was opened another time.  By
 * io_uring_prep_cancel(3) it takes "a request that was previously submitted" with the given
 * user_data or file descriptor.  Programs that share a ring, or a file, rely on that.
 * __io_async_cancel() looks through the pools of all tasks that have used the ring, and
 * io_cancel_req_match() compares open files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string>

#include "absent.hpp"
#include "cancel.hpp"
#include "harness.hpp"
#include "peer.hpp"
#include "workers.hpp"

constexpr __u64 first = 100, second = 101;

TEST(request_of_another_thread)
{
	Work work(Class::unbounded);
	PeerThread peer;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, peer.run([&] { return work.submit(ring); }));
	ASSERT_TRUE(WorkerSet::await(1).await_asleep());

	const int found = cancel(ring, { .name = work.user_data() });

	ASSERT_TRUE(found == 0 || found == -EALREADY)
	{
		TH_LOG("what another thread's worker does was not found: %d", found);
	}
	ASSERT_EQ(0, ring.discard(2));
}

TEST(file_that_was_opened_twice)
{
	const Fd one = memory_file();
	const std::string path = "/proc/self/fd/" + std::to_string(one.get());
	const Fd other(open(path.c_str(), O_RDWR | O_CLOEXEC));
	AbsentPage page;
	Uring ring;

	ASSERT_EQ(0, one.error());
	ASSERT_EQ(0, other.error());
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, ring.open());
	queue_write(ring, one, page.get(), first);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_TRUE(page.await_reader());
	/* It waits for the first one, as the file is the same. */
	queue_write(ring, other, "", second);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(-EALREADY, cancel(ring, { .flags = IORING_ASYNC_CANCEL_FD }, one.get()));
	ASSERT_EQ(0, page.release());
	ASSERT_EQ(3U, ring.await_ready(3));
	ASSERT_EQ(1, ring.result_of(second))
	{
		TH_LOG("a write by another descriptor was cancelled: see io_cancel_req_match()");
	}
}

TEST_HARNESS_MAIN
