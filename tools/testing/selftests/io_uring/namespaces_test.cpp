// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that has closed its last ring may enter namespaces like one that never had a ring.
 * With a worker left, userns_install(), mntns_install() and timens_install() refuse it, and so
 * does unshare(CLONE_NEWUSER).  Container runtimes, sandboxes and launchers need that.
 *
 * Needs no privilege where everybody may make a user namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string>

#include "observer.hpp"

/*
 * As unshare(2).  0, or -errno: -ENOSPC where user.max_*_namespaces says so, but not for
 * one that has ended and is yet to be subtracted (free_user_ns()).
 */
static int make(int type)
{
	const Deadline deadline(limit::grace);

	while (unshare(type)) {
		if (errno != ENOSPC || deadline.over())
			return -errno;
		deadline.back_off();
	}
	return 0;
}

/* Enters a user namespace of our own.  0, or -errno. */
static int become_privileged()
{
	if (const int err = make(CLONE_NEWUSER))
		return err;
	die_with_parent();
	return 0;
}

TEST(new_user_namespace_is_made)
{
	if (in_child([] { return -make(CLONE_NEWUSER); }))
		SKIP(return, "%s", skip::no_namespace);
	ASSERT_RELIEVED(-EINVAL, 0, [] { return make(CLONE_NEWUSER); });
}

FIXTURE(existing) {};
FIXTURE_SETUP(existing) {}
FIXTURE_TEARDOWN(existing) {}

FIXTURE_VARIANT(existing)
{
	int type;
	const char *file;
	int disturbed;
};

FIXTURE_VARIANT_ADD(existing, user) { CLONE_NEWUSER, "user", -EINVAL };
FIXTURE_VARIANT_ADD(existing, mount) { CLONE_NEWNS, "mnt", -EINVAL };
FIXTURE_VARIANT_ADD(existing, time) { CLONE_NEWTIME, "time_for_children", -EUSERS };

TEST_F(existing, namespace_is_joined)
{
	Process inhabitant;
	Fd ns;

	/* 0 with a namespace to be joined, or an errno. */
	const auto prepare = [&] {
		/* Who makes a user namespace may join it; others take privilege at home, too. */
		if (variant->type != CLONE_NEWUSER)
			if (const int err = become_privileged())
				return -err;
		if (inhabitant.start([&](Process &self) {
			if (const int err = make(variant->type))
				return -err;
			self.step();
			return 0;
		}))
			return EAGAIN;
		if (!inhabitant.await_step())
			return inhabitant.await_result();

		const std::string path =
			"/proc/" + std::to_string(inhabitant.pid()) + "/ns/" + variant->file;

		ns = Fd::from(open(path.c_str(), O_RDONLY | O_CLOEXEC));
		return -ns.error();
	};
	const auto join = [&] { return setns(ns.get(), variant->type) ? -errno : 0; };

	/* Some systems let anybody make a user namespace, but give no privilege. */
	if (const int err = in_child([&] { return prepare() ?: (join() ? EPERM : 0); }))
		SKIP(return, "%s", err == EINVAL ? skip::no_namespace_type : skip::no_namespace);
	ASSERT_EQ(0, prepare());
	ASSERT_RELIEVED(variant->disturbed, 0, join);
}

/* Has a worker do a request, after children belong to a new PID namespace.  Its result. */
static int serve_between_pid_namespaces(Uring &ring)
{
	const int err = make(CLONE_NEWPID);

	return err ?: serve(ring, Class::unbounded);
}

/*
 * This is the price of idle exit.  A process that makes a PID namespace for its children can
 * make no more threads (copy_process()), and no workers.  A worker that lingered did the
 * requests of later rings; without one, such a request is cancelled at once.
 */
TEST(new_pid_namespace_has_no_workers)
{
	Uring ring;

	if (become_privileged() || in_child([] { return -make(CLONE_NEWPID); }))
		SKIP(return, "%s", skip::no_namespace);
	const int served = in_child([] {
		Uring ring;
		const int err = ring.open();

		if (err)
			return -err;
		return -serve(ring, Class::unbounded) ?: -serve_between_pid_namespaces(ring);
	});

	if (served == EPERM)
		SKIP(return, "%s", skip::not_this_user);
	ASSERT_EQ(0, served)
	{
		TH_LOG("not even the worker that is there serves");
	}

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, serve(ring, Class::unbounded));
	const WorkerSet worker = WorkerSet::now();

	ASSERT_EQ(1U, worker.count());
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(-ECANCELED, serve_between_pid_namespaces(ring));
}

TEST_HARNESS_MAIN
