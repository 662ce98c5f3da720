// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A task that drops privileges keeps its workers.  They do each request as the user who submitted
 * it, though they are still the user who they were, and leave with the last ring.  Workers that
 * come later are the user who the task is by then.  Daemons that start as root rely on that.
 * io_prep_async_work() takes the submitter's credentials along.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "promise.hpp"

namespace {

constexpr uid_t nobody = 65534;

/*
 * Becomes an ordinary user, as daemons do; false if we may not.  Gives the capabilities up, too,
 * as some securebits(7) would keep them.
 */
bool drop_privileges()
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3,
						   .pid = 0 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	return setresuid(nobody, nobody, nobody) == 0 && syscall(SYS_capset, &header, none) == 0;
}

/* A file that its owner may open, and nobody else. */
Fd private_file()
{
	Fd file = memory_file();

	return file && fchmod(file.get(), 0600) == 0 ? std::move(file) : Fd();
}

/* 0 if a worker may open @file, as @personality if not 0; or -errno. */
int open_by_worker(Uring &ring, const Fd &file, int personality = 0)
{
	const std::string path = "/proc/self/fd/" + std::to_string(file.get());
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());
	struct io_uring_cqe *cqe;

	/* A worker that is not yet back from its last request would need the help of another. */
	if (!WorkerSet::now().await_asleep())
		return -ETIME;
	io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->personality = static_cast<__u16>(personality);
	if (io_uring_submit_and_wait(ring.get(), 1) != 1 || io_uring_peek_cqe(ring.get(), &cqe))
		return -EIO;

	const Fd opened(cqe->res);

	io_uring_cqe_seen(ring.get(), cqe);
	return opened ? 0 : opened.get();
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
	const Fd roots = private_file();
	Uring ring;

	/* Root, and with the right to become all of it. */
	if (geteuid() || setresuid(0, 0, 0))
		SKIP(return, "%s", skip::not_root);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());
	ASSERT_EQ(0, open_by_worker(ring, roots));
	if (!drop_privileges())
		SKIP(return, "%s", skip::no_other_user);
	die_with_parent();
	/* Else /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);

	ASSERT_EQ(8U, worker.serve(ring, Class::bounded, 8));
	EXPECT_EQ(-EACCES, open_by_worker(ring, roots));
	EXPECT_EQ(0, open_by_worker(ring, private_file()));
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

/*
 * To io_uring_register_personality(3), the credentials of the moment, for requests that name
 * them; in a worker as well, and for no other.
 */
TEST(personality_is_taken_on)
{
	const Fd roots = private_file();
	Uring ring;

	if (geteuid() || setresuid(0, 0, 0))
		SKIP(return, "%s", skip::not_root);
	ASSERT_EQ(0, ring.open());

	const int root = io_uring_register_personality(ring.get());

	ASSERT_LT(0, root);
	if (!drop_privileges())
		SKIP(return, "%s", skip::no_other_user);
	die_with_parent();
	/* Else /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);

	const int nobodys = io_uring_register_personality(ring.get());
	const Fd file = private_file();

	ASSERT_LT(0, nobodys);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, open_by_worker(ring, roots, root))
			TH_LOG("a worker did not take on a personality: see __io_issue_sqe()");
		ASSERT_EQ(-EACCES, open_by_worker(ring, roots))
			TH_LOG("a worker kept another's personality: see __io_issue_sqe()");
		ASSERT_EQ(-EACCES, open_by_worker(ring, roots, nobodys));
		ASSERT_EQ(0, open_by_worker(ring, file, nobodys));
	}
	/* One at a time, and so by one worker. */
	ASSERT_EQ(1U, WorkerSet::now().count());
}

TEST_HARNESS_MAIN
