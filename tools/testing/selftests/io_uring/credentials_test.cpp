// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A task that drops privileges or lowers its limits keeps its workers: they do
 * requests as who submitted them, though they are still who they were, and leave
 * with the last ring.  The next ones are who the task is by then.  For daemons that
 * start as root.  io_prep_async_work() takes the submitter's credentials along.
 */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "promise.hpp"

namespace {

constexpr uid_t nobody = 65534;

/* Who owns a file that a worker creates; or -1. */
int owner_of_file_made(Ring &ring)
{
	for (const char *dir : { "/dev/shm", "/tmp", "/var/tmp", "." }) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());
		struct io_uring_cqe *cqe;
		struct stat st;

		io_uring_prep_openat(sqe, AT_FDCWD, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		sqe->flags |= IOSQE_ASYNC;
		if (io_uring_submit_and_wait(ring.get(), 1) != 1 ||
		    io_uring_peek_cqe(ring.get(), &cqe))
			return -1;

		const Fd file(cqe->res);

		io_uring_cqe_seen(ring.get(), cqe);
		if (file && fstat(file.get(), &st) == 0)
			return static_cast<int>(st.st_uid);
	}
	return -1;
}

/* Who the thread @tid of this process is; or -1. */
int uid_of_thread(pid_t tid)
{
	struct stat st;
	const std::string dir = "/proc/self/task/" + std::to_string(tid);

	return stat(dir.c_str(), &st) ? -1 : static_cast<int>(st.st_uid);
}

} // namespace

TEST(user_changes)
{
	Ring ring;

	if (geteuid() || setresuid(0, 0, 0))
		SKIP(return, "%s", skip::not_root);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();

	const Workers worker = Workers::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count()) dump_threads();
	if (setresuid(nobody, nobody, nobody))
		SKIP(return, "%s", skip::not_root);
	die_with_parent();
	/* Else /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);

	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8)) dump_threads();
	EXPECT_EQ(static_cast<int>(nobody), owner_of_file_made(ring));
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();

	const Workers next = Workers::now();

	ASSERT_EQ(1U, next.count()) dump_threads();
	EXPECT_EQ(static_cast<int>(nobody), uid_of_thread(next.tid()));
}

TEST(process_limit_is_lowered)
{
	struct rlimit nproc;
	Ring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded)) dump_threads();

	const Workers worker = Workers::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count()) dump_threads();
	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8)) dump_threads();
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
