// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that has closed its last ring may enter namespaces as one that never
 * had any: with a worker left, userns_install(), mntns_install() and
 * timens_install() refuse it, and so does unshare(CLONE_NEWUSER).  For container
 * runtimes, sandboxes and launchers.
 *
 * Needs no privilege where anybody may make a user namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <string>

#include "observer.hpp"

/*
 * -errno, or 0 in a user namespace of our own, privileged in there.  Some systems
 * let anybody make one, but give no privilege.
 */
static int become_privileged()
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	die_with_parent();
	return 0;
}

TEST(new_user_namespace_is_made)
{
	if (in_child([] { return -become_privileged(); }))
		SKIP(return, "%s", skip::no_user_namespace);
	ASSERT_RELIEVED(-EINVAL, 0, [] { return unshare(CLONE_NEWUSER) ? -errno : 0; });
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
	Child inhabitant;

	if (in_child([] { return -become_privileged(); }))
		SKIP(return, "%s", skip::no_user_namespace);
	/* Who makes a user namespace may join it; others take privilege at home, too. */
	if (variant->type != CLONE_NEWUSER) {
		ASSERT_EQ(0, become_privileged());
	}

	ASSERT_EQ(0, inhabitant.start([&](Child &self) {
		if (unshare(variant->type))
			return errno;
		self.step();
		return 0;
	}));
	if (!inhabitant.await_step()) {
		const int err = inhabitant.await_result();

		if (err == EINVAL)
			SKIP(return, "%s", skip::no_namespace_type);
		ASSERT_EQ(0, err) TH_LOG("unshare: %s", strerror(err));
	}

	const std::string path =
		"/proc/" + std::to_string(inhabitant.pid()) + "/ns/" + variant->file;
	const Fd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));

	ASSERT_TRUE(ns) TH_LOG("open %s: %s", path.c_str(), strerror(errno));
	ASSERT_RELIEVED(variant->disturbed, 0,
			[&] { return setns(ns.get(), variant->type) ? -errno : 0; });
}

/* What a request for a worker comes to, once children belong to a new PID namespace. */
static int serve_between_pid_namespaces(Ring &ring)
{
	if (unshare(CLONE_NEWPID))
		return -errno;
	return serve(ring, Class::unbounded);
}

/*
 * The price of it: who makes a PID namespace for its children can make no more
 * threads (copy_process()), workers neither.  A worker that lingered did the work
 * of later rings; now such a request is cancelled, at once.
 */
TEST(new_pid_namespace_has_no_workers)
{
	Ring ring;

	if (become_privileged())
		SKIP(return, "%s", skip::no_user_namespace);
	const int served = in_child([] {
		Ring ring;
		const int err = ring.open();

		if (err)
			return -err;
		return -serve(ring, Class::unbounded) ?: -serve_between_pid_namespaces(ring);
	});

	if (served == EPERM)
		SKIP(return, "%s", skip::not_this_user);
	ASSERT_EQ(0, served) TH_LOG("not even the worker that is there serves");

	ASSERT_EQ(0, ring.open());
	const RingEnd end = ring.end();

	ASSERT_EQ(0, serve(ring, Class::unbounded)) dump_threads();
	const Workers worker = Workers::now();

	ASSERT_EQ(1U, worker.count()) dump_threads();
	ring.close();
	ASSERT_WORKERS_EXIT(worker, end);
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(-ECANCELED, serve_between_pid_namespaces(ring)) dump_threads();
}

TEST_HARNESS_MAIN
