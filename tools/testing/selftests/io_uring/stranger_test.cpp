// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Rings end, so that idle workers can leave, whatever other processes do.  No manual lets a
 * ring's end wait for strangers: close(2) of the last descriptor releases "the resources
 * associated with the open file description".  Everybody who shares a machine relies on that.
 * io_ring_exit_work() waits for each task that used the ring, and has 64 places for such waits
 * on the whole machine (iou_exit).  So 64 rings of one stopped task, which takes no privilege,
 * hold the rings of everybody.
 */
#include <array>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "cgroup.hpp"
#include "child.hpp"
#include "harness.hpp"
#include "ring.hpp"
#include "tracer.hpp"
#include "workers.hpp"

namespace {

/* As many as there are places. */
constexpr size_t nr_rings = 64;

/* Less than limit::event, as all rings of the machine wait meanwhile. */
constexpr milliseconds patience{ 3'000 };

} // namespace

FIXTURE(stranger) {};
FIXTURE_SETUP(stranger) {}
FIXTURE_TEARDOWN(stranger) {}

enum class Halt { stop, trace, freeze };

FIXTURE_VARIANT(stranger)
{
	Halt by;
	/* A request of each ring is pending, too, that only the task itself can complete. */
	bool pending = false;
};

FIXTURE_VARIANT_ADD(stranger, stopped) { .by = Halt::stop };
FIXTURE_VARIANT_ADD(stranger, stopped_with_requests) { .by = Halt::stop, .pending = true };
FIXTURE_VARIANT_ADD(stranger, traced) { .by = Halt::trace };
FIXTURE_VARIANT_ADD(stranger, frozen) { .by = Halt::freeze };

/*
 * Both processes have the rings, so that each ring is closed for the last time while the other
 * process is halted.  That process is killed, which ends all waits, as the test ends.
 */
TEST_F(stranger, holds_no_ring_of_ours)
{
	std::array<Uring, nr_rings> rings;
	std::vector<RingEnd> ends;
	const Halt by = variant->by;
	Cgroup freezer;
	Process other;
	PipeEnds empty;
	Uring ours;

	if (const char *why = must_not_disturb())
		SKIP(return, "%s", why);
	if (by == Halt::freeze && freezer.make_freezer())
		SKIP(return, "%s", skip::no_freezer);
	ASSERT_EQ(0, empty.open());
	for (Uring &ring : rings) {
		ASSERT_EQ(0, ring.open());
		ends.push_back(ring.end());
	}
	ASSERT_EQ(0, other.start([&](Process &self) {
		for (Uring &ring : rings) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(ring.get());

			if (variant->pending)
				io_uring_prep_poll_add(sqe, empty.rd.get(), POLLIN);
			else
				io_uring_prep_nop(sqe);
			if (io_uring_submit(ring.get()) != 1)
				return 1;
		}
		for (Uring &ring : rings)
			ring.close();
		self.step();
		return 0;
	}));
	ASSERT_TRUE(other.await_step());

	ASSERT_EQ(0, ours.open());

	const RingEnd end = ours.end();

	if (by == Halt::stop) {
		ASSERT_EQ(0, other.signal(SIGSTOP));
		ASSERT_TRUE(WIFSTOPPED(other.await_end(WUNTRACED)));
	} else if (by == Halt::trace) {
		ASSERT_EQ(0, trace(other.pid()));
		ASSERT_EQ(0, stop_traced(other.pid()));
	} else {
		ASSERT_EQ(0, freezer.enter(other.pid()));
		ASSERT_EQ(0, freezer.freeze());
	}
	for (Uring &ring : rings)
		ring.close();

	ours.close();
	const bool ended = end.await(Deadline(patience));

	/* With its end all waits for it are over, and all rings must end at once. */
	ASSERT_EQ(0, other.signal(SIGKILL));
	if (by == Halt::freeze) {
		ASSERT_EQ(0, freezer.thaw());
	}
	ASSERT_NE(-1, other.await_end());

	const Deadline since(limit::event);

	ASSERT_TRUE(end.await());
	ASSERT_TRUE(ended)
	{
		TH_LOG("a ring of ours waits for the %zu of a stranger who cannot run", nr_rings);
		TH_LOG("it did not end in %lld ms, but %.3f ms after the stranger's death",
		       static_cast<long long>(patience.count()), since.spent().count() / 1e3);
		TH_LOG("see io_ring_exit_work() in io_uring/io_uring.c");
	}
	/* Nothing is left for the next one. */
	for (const RingEnd &theirs : ends) {
		ASSERT_TRUE(theirs.await());
	}
}

TEST_HARNESS_MAIN
