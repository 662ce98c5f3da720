// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A task that changes its user keeps its workers.  These keep the user that they were made with,
 * but do each request with the credentials of its submitter, or with those that a request names
 * (io_uring_register_personality(3)), and they leave with the last ring.  Workers that are made
 * later get the task's new user.  Daemons that start as root rely on that.
 * io_prep_async_work() stores the submitter's credentials in the request.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "promise.hpp"

namespace {

/* A file that its owner may open, and nobody else. */
Fd private_file()
{
	Fd file = memory_file();

	return file && fchmod(file.get(), 0600) == 0 ? std::move(file) : Fd();
}

/*
 * Has a worker open @file, with the credentials registered as @personality unless that is 0, as a
 * request of its own, or linked to another.  0, or -errno.
 */
int open_by_worker(Uring &ring, const Fd &file, int personality = 0, bool linked = false)
{
	const std::string path = "/proc/self/fd/" + std::to_string(file.get());
	struct io_uring_sqe *sqe;

	/* A worker that is not yet back from its last request would need the help of another. */
	if (!WorkerSet::now().await_asleep())
		return -ETIME;
	if (linked) {
		sqe = io_uring_get_sqe(ring.get());
		io_uring_prep_nop(sqe);
		sqe->flags |= IOSQE_ASYNC | IOSQE_IO_LINK;
	}
	sqe = io_uring_get_sqe(ring.get());
	io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->personality = static_cast<__u16>(personality);
	if (io_uring_submit(ring.get()) != 1 + linked || (linked && ring.reap(1)))
		return -EIO;
	return Fd(ring.take().result).error();
}

/* The user that the thread @tid of this process has, or -1. */
int uid_of_thread(pid_t tid)
{
	struct stat st;
	const std::string dir = "/proc/self/task/" + std::to_string(tid);

	return stat(dir.c_str(), &st) ? -1 : static_cast<int>(st.st_uid);
}

/* Makes root of the saved user ID as well.  False without root's privilege. */
bool become_root()
{
	return geteuid() == 0 && setresuid(0, 0, 0) == 0;
}

} // namespace

TEST(user_changes)
{
	const Fd roots = private_file();
	Uring ring;

	if (!become_root())
		SKIP(return, "%s", skip::not_root);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, open_by_worker(ring, roots));
	if (become_user(nobody))
		SKIP(return, "%s", skip::no_other_user);
	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	for (const bool linked : { false, true }) {
		ASSERT_EQ(-EACCES, open_by_worker(ring, roots, 0, linked));
		ASSERT_EQ(0, open_by_worker(ring, private_file(), 0, linked));
	}
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);

	const int err = ring.open();

	if (err == -EPERM || err == -ENOMEM)
		SKIP(return, "%s", skip::not_this_user);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet next = WorkerSet::now();

	ASSERT_EQ(1U, next.count());
	EXPECT_EQ(static_cast<int>(nobody), uid_of_thread(next.tid()));
}

/* An SQPOLL thread serves each ring with that ring's: __io_sq_thread(). */
TEST(rings_of_sqpoll_thread_have_their_own)
{
	const Fd roots = private_file();
	Uring first, second;

	if (!become_root())
		SKIP(return, "%s", skip::not_root);

	int err = first.open_sqpoll();

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(0, err);
	if (become_user(nobody))
		SKIP(return, "%s", skip::no_other_user);
	err = second.open_sqpoll(IORING_SETUP_ATTACH_WQ, 1, first.fd());
	if (err == -EPERM || err == -ENOMEM)
		SKIP(return, "%s", skip::not_this_user);
	ASSERT_EQ(0, err);
	ASSERT_EQ(-EACCES, open_by_worker(second, roots));
	ASSERT_EQ(0, open_by_worker(first, roots));
	ASSERT_EQ(0, open_by_worker(second, private_file()));
}

/*
 * A worker takes on the credentials of the personality that a request names, and puts them off
 * again before the next request.
 */
TEST(personality_is_taken_on)
{
	const Fd roots = private_file();
	Uring ring;

	if (!become_root())
		SKIP(return, "%s", skip::not_root);
	ASSERT_EQ(0, ring.open());

	const int root = io_uring_register_personality(ring.get());

	ASSERT_LT(0, root);
	if (become_user(nobody))
		SKIP(return, "%s", skip::no_other_user);

	const int nobodys = io_uring_register_personality(ring.get());
	const Fd file = private_file();

	ASSERT_LT(0, nobodys);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, open_by_worker(ring, roots, root))
		{
			TH_LOG("a worker did not take on a personality: see __io_issue_sqe()");
		}
		ASSERT_EQ(-EACCES, open_by_worker(ring, roots))
		{
			TH_LOG("a worker kept another's personality: see __io_issue_sqe()");
		}
		ASSERT_EQ(-EACCES, open_by_worker(ring, roots, nobodys));
		ASSERT_EQ(0, open_by_worker(ring, file, nobodys));
	}
	/* There was one request at a time, so that one worker did them all. */
	ASSERT_EQ(1U, WorkerSet::now().count());
}

TEST_HARNESS_MAIN
