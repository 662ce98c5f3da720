// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A cancellation takes the requests that it names, wherever these are by then, and no others.  By
 * io_uring_prep_cancel(3) it names them by their user_data, file or opcode, and finds them in its
 * ring.  Programs that share a thread and its workers among rings, or a ring among connections,
 * rely on that.
 * io_cancel_req_match() compares, and io_worker_handle_work() must not lose sight of a request
 * that it has taken off the list and has yet to begin.
 */
#include <errno.h>
#include <thread>

#include "absent.hpp"
#include "cancel.hpp"
#include "harness.hpp"
#include "workers.hpp"

namespace {

enum Name : __u64 { write_1 = 100, write_2, nop, closing };

/* As kernels do that know the newest of these criteria, which are of v6.6. */
bool knows_futexes()
{
	constexpr int futex_wait = 51;
	struct io_uring_probe *probe = io_uring_get_probe();
	const bool knows = probe && io_uring_opcode_supported(probe, futex_wait);

	io_uring_free_probe(probe);
	return knows;
}

} // namespace

FIXTURE(named) {};
FIXTURE_SETUP(named) {}
FIXTURE_TEARDOWN(named) {}

FIXTURE_VARIANT(named)
{
	Criteria by;
	/* Of two writes and a NOP, which ones it takes. */
	bool takes[3];
};

FIXTURE_VARIANT_ADD(named, by_user_data)
{
	.by = { .name = write_2 }, .takes = { false, true, false }
};
FIXTURE_VARIANT_ADD(named, by_unknown_user_data)
{
	.by = { .name = closing }, .takes = { false, false, false }
};
FIXTURE_VARIANT_ADD(named, by_all_of_user_data)
{
	.by = { .flags = IORING_ASYNC_CANCEL_ALL, .name = nop }, .takes = { false, false, true }
};
FIXTURE_VARIANT_ADD(named, by_file)
{
	.by = { .flags = IORING_ASYNC_CANCEL_FD }, .takes = { false, true, false }
};
FIXTURE_VARIANT_ADD(named, by_file_and_user_data)
{
	.by = { .flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_USERDATA, .name = write_2 },
	.takes = { false, true, false }
};
FIXTURE_VARIANT_ADD(named, by_file_of_another_user_data)
{
	.by = { .flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_USERDATA, .name = write_1 },
	.takes = { false, false, false }
};
FIXTURE_VARIANT_ADD(named, by_index_of_file)
{
	.by = { .flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED },
	.takes = { false, true, false }
};
FIXTURE_VARIANT_ADD(named, by_opcode)
{
	.by = { .flags = IORING_ASYNC_CANCEL_OP, .opcode = IORING_OP_NOP },
	.takes = { false, false, true }
};
FIXTURE_VARIANT_ADD(named, by_opcode_and_user_data)
{
	.by = { .flags = IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_USERDATA, .name = write_2,
		.opcode = IORING_OP_WRITE },
	.takes = { false, true, false }
};
FIXTURE_VARIANT_ADD(named, by_all_of_opcode)
{
	.by = { .flags = IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ALL,
		.opcode = IORING_OP_WRITE },
	.takes = { true, true, false }
};
FIXTURE_VARIANT_ADD(named, by_file_of_another_opcode)
{
	.by = { .flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP, .opcode = IORING_OP_NOP },
	.takes = { false, false, false }
};

/* All requests wait for the worker. */
TEST_F(named, are_taken)
{
	const Fd files[] = { memory_file(), memory_file() };
	const int fds[] = { files[0].get(), files[1].get() };
	const auto &[no_1, no_2, no_3] = variant->takes;
	const bool finds = no_1 || no_2 || no_3;
	Work work(Class::bounded);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_files(ring.get(), fds, 2));
	ASSERT_EQ(0, work.occupy(ring));
	queue_write(ring, files[0], "", write_1);
	queue_write(ring, files[1], "", write_2);
	queue_nop(ring, nop);
	ASSERT_EQ(3, io_uring_submit(ring.get()));

	/* By the second file, or its index. */
	const bool by_index = variant->by.flags & IORING_ASYNC_CANCEL_FD_FIXED;
	const int found = cancel(ring, variant->by, by_index ? 1 : fds[1]);

	if (found == -EINVAL && !knows_futexes())
		SKIP(return, "%s", skip::no_request);
	/* With IORING_ASYNC_CANCEL_ALL it is how many, which cancel_all_test is about. */
	ASSERT_EQ(finds, found >= 0) TH_LOG("%d: see io_cancel_req_match()", found);
	ASSERT_EQ(0, work.release());
	/* All of these, the first work and the cancellation. */
	ASSERT_EQ(5U, ring.await_ready(5));
	ASSERT_EQ(no_1 ? -ECANCELED : 1, ring.result_of(write_1));
	ASSERT_EQ(no_2 ? -ECANCELED : 1, ring.result_of(write_2));
	ASSERT_EQ(no_3 ? -ECANCELED : 0, ring.result_of(nop));

	/* Nor is the next write behind what was taken. */
	ASSERT_EQ(0, ring.discard(5));
	queue_write(ring, files[1], "", write_2);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	ASSERT_EQ(0, ring.reap(1, 1)) TH_LOG("a write is lost: see io_wq_remove_pending()");
}

/* The two rings have one pool, that of their thread. */
TEST(another_ring_keeps_its_requests)
{
	Work work(Class::bounded);
	Uring ring, another;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, another.open());
	ASSERT_EQ(0, work.occupy(ring));
	queue_nop(ring, nop);
	ASSERT_EQ(1, io_uring_submit(ring.get()));
	for (const __u64 name : { static_cast<__u64>(nop), work.user_data() }) {
		ASSERT_EQ(-ENOENT, cancel(another, { .name = name }));
		ASSERT_EQ(0, another.discard(1));
	}
	ASSERT_EQ(0, cancel(another, { .flags = IORING_ASYNC_CANCEL_ANY }));
	ASSERT_EQ(0, work.release());
	ASSERT_EQ(0, ring.reap(2)) TH_LOG("cancelled by another ring: see io_cancel_req_match()");
}

/* True once a thread of this process waits for what no signal ends; false after limit::event. */
static bool await_blocked(pid_t tid)
{
	const Deadline deadline(limit::event);

	while (!deadline.over()) {
		const auto stat = thread_stat(getpid(), tid);

		if (stat && stat->state == 'D')
			return true;
		deadline.back_off();
	}
	return false;
}

/*
 * Before it begins with what it has taken, the worker closes the file of the last request.  That
 * takes the lock of the pipe, which a write has until its page is there.
 */
TEST(taken_and_not_begun)
{
	Work work(Class::bounded);
	AbsentPage page;
	int pipe[2];
	Uring ring;

	ASSERT_EQ(0, pipe2(pipe, O_CLOEXEC));
	if (page.open())
		SKIP(return, "%s", skip::no_userfaultfd);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, work.occupy(ring));

	const WorkerSet worker = WorkerSet::await(1);

	ASSERT_EQ(1U, worker.count());
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

	io_uring_prep_close(sqe, pipe[0]);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = closing;
	queue_nop(ring, nop);
	ASSERT_EQ(2, io_uring_submit(ring.get()));

	std::thread writer([&] { return write(pipe[1], page.get(), 1); });

	ASSERT_TRUE(page.await_reader());
	ASSERT_EQ(0, work.release());
	ASSERT_TRUE(await_blocked(worker.tid()))
	{
		TH_LOG("a file stays open though its close is done: see io_assign_current_work()");
	}
	ASSERT_EQ(-EALREADY, cancel(ring, { .name = nop }))
	{
		TH_LOG("a worker has taken the request: see io_worker_handle_work()");
	}
	ASSERT_EQ(0, page.release());
	writer.join();
	/* All of these, the first work and the cancellation. */
	ASSERT_EQ(4U, ring.await_ready(4));
	ASSERT_EQ(0, ring.result_of(closing));
	ASSERT_EQ(-ECANCELED, ring.result_of(nop));
}

TEST_HARNESS_MAIN
