// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who asks for the limits of workers, or sets them, is told those that were in effect, and
 * these are the ones that the manual has.  To io_uring_register_iowq_max_workers(3) the
 * former values are returned, and a zero changes nothing; the default is the "size of the
 * SQ ring, or 4 times the number of online CPUs, whichever is smaller" for bounded workers,
 * RLIMIT_NPROC for unbounded ones.  For libraries that raise a limit, and put it back.
 * io_wq_max_workers() tells them, io_init_wq_offload() chooses the default.
 */
#include <algorithm>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include "harness.hpp"
#include "peer.hpp"
#include "workers.hpp"

namespace {

struct Limits {
	unsigned bounded, unbounded;
};

/* Sets the limits, and returns what that tells. */
Limits set(Uring &ring, Limits limits)
{
	unsigned both[2] = { limits.bounded, limits.unbounded };
	const int err = io_uring_register_iowq_max_workers(ring.get(), both);

	return err ? Limits{ 0, 0 } : Limits{ both[0], both[1] };
}

/* Zeroes change nothing. */
Limits ask(Uring &ring)
{
	return set(ring, { 0, 0 });
}

} // namespace

#define ASSERT_LIMITS(want_bounded, want_unbounded, told)			\
do {										\
	const Limits seen = told;						\
										\
	ASSERT_EQ(want_bounded, seen.bounded)					\
		TH_LOG("of bounded workers; see io_wq_max_workers()");		\
	ASSERT_EQ(want_unbounded, seen.unbounded)				\
		TH_LOG("of unbounded workers; see io_wq_max_workers()");	\
} while (0)

TEST(former_limits)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());

	const Limits by_default = ask(ring);

	ASSERT_LIMITS(by_default.bounded, by_default.unbounded, set(ring, { 2, 3 }));
	ASSERT_LIMITS(2U, 3U, set(ring, { 4, 5 }));
	ASSERT_LIMITS(4U, 5U, set(ring, { 6, 0 }));
	ASSERT_LIMITS(6U, 5U, set(ring, { 0, 7 }));
	ASSERT_LIMITS(6U, 7U, ask(ring));
	ASSERT_LIMITS(6U, 7U, ask(ring));
}

/* Not even one is told of, where there may be none. */
TEST(no_unbounded_workers)
{
	struct rlimit nproc;
	Uring ring;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0U, ask(ring).unbounded);
	ASSERT_LT(0U, ask(ring).bounded);
}

/* Limits are the ring's, and bind a thread that comes to it later: __io_uring_add_tctx_node(). */
TEST(limits_of_later_thread)
{
	PeerThread peer;
	Limits told = {};
	Uring ring;

	ASSERT_EQ(0, ring.open());
	set(ring, { 2, 3 });
	ASSERT_EQ(0, peer.run([&] {
		const int err = serve(ring, Class::bounded);

		told = ask(ring);
		return err;
	}));
	ASSERT_LIMITS(2U, 3U, told);
}

/* And those who use it already: io_register_iowq_max_workers(). */
TEST(limits_of_other_thread)
{
	PeerThread peer;
	Limits told = {};
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, peer.run([&] { return serve(ring, Class::bounded); }));
	set(ring, { 2, 3 });
	ASSERT_EQ(0, peer.run([&] {
		told = ask(ring);
		return 0;
	}));
	ASSERT_LIMITS(2U, 3U, told);
}

FIXTURE(default_limits) {};
FIXTURE_SETUP(default_limits) {}
FIXTURE_TEARDOWN(default_limits) {}

FIXTURE_VARIANT(default_limits)
{
	unsigned entries;
};

FIXTURE_VARIANT_ADD(default_limits, of_small_ring) { .entries = 2 };
FIXTURE_VARIANT_ADD(default_limits, of_large_ring) { .entries = 4096 };

/* The pool is the one of the task's first ring. */
TEST_F(default_limits, are_told_and_hold)
{
	const auto cpus = static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN));
	const unsigned bounded = std::min(variant->entries, 4 * cpus);
	struct io_uring_params p = {};
	struct rlimit nproc;
	Uring ring;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &nproc));
	nproc.rlim_cur = std::min<rlim_t>(1'000, nproc.rlim_max);
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &nproc));
	p.sq_entries = variant->entries;
	ASSERT_EQ(0, ring.open(p));
	ASSERT_LIMITS(bounded, static_cast<unsigned>(nproc.rlim_cur), ask(ring));

	/* Where there are many CPUs, there may be no room for that many. */
	if (bounded > 16)
		return;

	std::vector<Work> works;

	for (unsigned i = 0; i <= bounded; i++)
		works.emplace_back(Class::bounded);
	for (Work &work : works) {
		ASSERT_EQ(0, work.submit(ring));
	}

	const WorkerSet workers = WorkerSet::await(bounded);

	ASSERT_TRUE(workers.await_asleep());
	ASSERT_EQ(bounded, WorkerSet::now().count());
	for (Work &work : works) {
		ASSERT_EQ(0, work.release());
	}
	ASSERT_EQ(0, ring.reap(bounded + 1));
}

TEST_HARNESS_MAIN
