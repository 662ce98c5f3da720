// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What io_uring is asked wrongly about workers, registered rings and SQPOLL threads, it
 * refuses with the errors of io_uring_register(2) and io_uring_setup(2), and all stays as it
 * was.  For all who probe what a kernel can do, and for those who pass on what others ask.
 */
#include <algorithm>
#include <array>
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#include "harness.hpp"
#include "workers.hpp"

namespace {

/* Memory that can be read, or cannot even be that. */
void *memory(int protection)
{
	return mmap(static_cast<void *>(nullptr), 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, static_cast<off_t>(0));
}

int ask(const Uring &ring, unsigned what, void *arg, unsigned nr)
{
	return io_uring_register(static_cast<unsigned>(ring.fd()), what, arg, nr);
}

int limits(const Uring &ring, void *arg)
{
	return ask(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, arg, 2);
}

using Update = struct io_uring_rsrc_update;

int register_rings(const Uring &ring, void *updates, unsigned nr)
{
	return ask(ring, IORING_REGISTER_RING_FDS, updates, nr);
}

int unregister_rings(const Uring &ring, void *updates, unsigned nr)
{
	return ask(ring, IORING_UNREGISTER_RING_FDS, updates, nr);
}

constexpr unsigned places = 16; /* for registered rings, of a task */
constexpr unsigned any_place = -1U;

Update update(unsigned offset, int fd, unsigned resv = 0)
{
	return { .offset = offset, .resv = resv, .data = static_cast<__u64>(fd) };
}

} // namespace

TEST(limits_of_workers)
{
	constexpr unsigned too_many = INT_MAX + 1U;
	unsigned seen[2] = {};
	Uring ring;

	ASSERT_EQ(0, ring.open());
	for (std::array<unsigned, 2> wrong : { std::array{ too_many, 1U }, { 1U, too_many } }) {
		ASSERT_EQ(-EINVAL, limits(ring, wrong.data()));
	}
	ASSERT_EQ(-EFAULT, limits(ring, memory(PROT_NONE)));
	ASSERT_EQ(0, limits(ring, seen));
	ASSERT_LT(1U, seen[1]) TH_LOG("a limit was taken that is refused");

	unsigned most[2] = { INT_MAX, INT_MAX };

	ASSERT_EQ(0, limits(ring, most));
	/* Zeroes ask, and there is no place for the answer. */
	ASSERT_EQ(-EFAULT, limits(ring, memory(PROT_READ)));
	ASSERT_EQ(0, serve(ring, Class::bounded));
}

TEST(affinity_of_workers)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(-EFAULT, ask(ring, IORING_REGISTER_IOWQ_AFF, memory(PROT_NONE), 8));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	/* Who has no ring of its own has no workers, either. */
	ASSERT_EQ(EINVAL, in_child([&] {
		const cpu_set_t cpu = allowed_cpu(0);

		return -io_uring_register_iowq_aff(ring.get(), sizeof(cpu), &cpu);
	}));
}

TEST(places_of_registered_rings)
{
	Uring ring;

	ASSERT_EQ(0, ring.open());

	Update last = update(places - 1, ring.fd()), free = update(any_place, ring.fd());

	ASSERT_EQ(1, register_rings(ring, &last, 1));
	ASSERT_EQ(places - 1, last.offset);
	ASSERT_EQ(1, register_rings(ring, &free, 1));
	ASSERT_EQ(0U, free.offset);
	ASSERT_EQ(-EBUSY, register_rings(ring, &last, 1));
	last.data = 0;
	ASSERT_EQ(1, unregister_rings(ring, &last, 1));
	ASSERT_EQ(1, unregister_rings(ring, &last, 1)) TH_LOG("it was registered no more");
	last = update(places - 1, ring.fd());
	ASSERT_EQ(1, register_rings(ring, &last, 1));

	/* One has its place already. */
	std::array<Update, places - 1> rest;

	rest.fill(update(any_place, ring.fd()));
	ASSERT_EQ(static_cast<int>(places) - 2, register_rings(ring, rest.data(), rest.size()));
	ASSERT_EQ(places - 2, rest[places - 3].offset);
	ASSERT_EQ(-EBUSY, register_rings(ring, &rest[places - 2], 1));

	std::array<Update, places> everything;

	for (unsigned i = 0; i < places; i++)
		everything[i] = update(i, 0);
	ASSERT_EQ(static_cast<int>(places), unregister_rings(ring, everything.data(), places));
	everything.fill(update(any_place, ring.fd()));
	ASSERT_EQ(static_cast<int>(places), register_rings(ring, everything.data(), places));
}

TEST(registered_rings)
{
	std::array<Update, places + 1> many;
	PipeEnds pipe;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, pipe.open());
	many.fill(update(any_place, ring.fd()));
	ASSERT_EQ(-EINVAL, register_rings(ring, many.data(), 0));
	ASSERT_EQ(-EINVAL, register_rings(ring, many.data(), places + 1));
	ASSERT_EQ(-EFAULT, register_rings(ring, memory(PROT_NONE), 1));

	const struct {
		Update asked;
		int error;
	} wrong[] = {
		{ update(places, ring.fd()), -EINVAL },
		{ update(any_place, ring.fd(), 1), -EINVAL },
		{ update(any_place, -1), -EBADF },
	};

	for (const auto &[one, error] : wrong) {
		/* The first is right, and done. */
		Update two[2] = { update(3, ring.fd()), one };

		ASSERT_EQ(error, register_rings(ring, &two[1], 1));
		two[1] = one;
		ASSERT_EQ(1, register_rings(ring, two, 2));
		two[0].data = 0;
		ASSERT_EQ(1, unregister_rings(ring, two, 1));
	}
	/* A file that is no ring; EOPNOTSUPP since v6.3. */
	Update no_ring = update(any_place, pipe.rd.get());
	const int err = register_rings(ring, &no_ring, 1);

	ASSERT_TRUE(err == -EOPNOTSUPP || err == -EBADF) TH_LOG("%d", err);

	/* The place cannot be told, and so is not taken. */
	auto *mine = static_cast<Update *>(memory(PROT_READ | PROT_WRITE));

	*mine = update(5, ring.fd());
	ASSERT_EQ(0, mprotect(mine, 4096, PROT_READ));
	ASSERT_EQ(-EFAULT, register_rings(ring, mine, 1));
	ASSERT_EQ(0, mprotect(mine, 4096, PROT_READ | PROT_WRITE));
	ASSERT_EQ(1, register_rings(ring, mine, 1));
}

TEST(rings_that_are_to_be_unregistered)
{
	std::array<Update, places + 1> many;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	many.fill(update(0, 0));
	ASSERT_EQ(-EINVAL, unregister_rings(ring, many.data(), 0));
	ASSERT_EQ(-EINVAL, unregister_rings(ring, many.data(), places + 1));
	ASSERT_EQ(-EFAULT, unregister_rings(ring, memory(PROT_NONE), 1));
	for (const Update &wrong : { update(places, 0), update(0, 0, 1), update(0, 1) }) {
		Update two[2] = { update(0, 0), wrong };

		ASSERT_EQ(-EINVAL, unregister_rings(ring, &two[1], 1)) TH_LOG("place %u", wrong.offset);
		ASSERT_EQ(1, unregister_rings(ring, two, 2));
	}
	/* Who never had one has nothing to do. */
	ASSERT_EQ(0, in_child([&] { return unregister_rings(ring, many.data(), 1); }));
	ASSERT_EQ(EINVAL, in_child([&] { return -unregister_rings(ring, many.data(), 0); }));
}

enum class Attach { nothing, pipe, plain_ring };

FIXTURE(setup) {};
FIXTURE_SETUP(setup) {}
FIXTURE_TEARDOWN(setup) {}

FIXTURE_VARIANT(setup)
{
	unsigned flags;
	/* What IORING_SETUP_ATTACH_WQ names, else nothing. */
	Attach to = Attach::nothing;
	int error;
	unsigned cpu = 0;
};

FIXTURE_VARIANT_ADD(setup, cpu_without_thread)
{
	.flags = IORING_SETUP_SQ_AFF, .error = -EINVAL
};
FIXTURE_VARIANT_ADD(setup, thread_on_no_cpu)
{
	.flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, .error = -EINVAL, .cpu = INT_MAX
};
FIXTURE_VARIANT_ADD(setup, attached_to_nothing)
{
	.flags = IORING_SETUP_ATTACH_WQ, .error = -ENXIO
};
FIXTURE_VARIANT_ADD(setup, attached_to_pipe)
{
	.flags = IORING_SETUP_ATTACH_WQ, .to = Attach::pipe, .error = -EINVAL
};
FIXTURE_VARIANT_ADD(setup, attached_to_ring)
{
	.flags = IORING_SETUP_ATTACH_WQ, .to = Attach::plain_ring, .error = 0
};
FIXTURE_VARIANT_ADD(setup, thread_of_nothing)
{
	.flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ, .error = -ENXIO
};
FIXTURE_VARIANT_ADD(setup, thread_of_pipe)
{
	.flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ, .to = Attach::pipe,
	.error = -EINVAL
};
FIXTURE_VARIANT_ADD(setup, thread_of_ring_without)
{
	.flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ,
	.to = Attach::plain_ring, .error = -EINVAL
};

TEST_F(setup, is_refused)
{
	struct io_uring_params p = {};
	Uring plain, ring;
	PipeEnds no_ring;

	ASSERT_EQ(0, plain.open());
	ASSERT_EQ(0, no_ring.open());
	p.flags = variant->flags;
	p.sq_thread_cpu = variant->cpu;
	p.wq_fd = variant->to == Attach::pipe	     ? static_cast<__u32>(no_ring.rd.get()) :
		  variant->to == Attach::plain_ring ? static_cast<__u32>(plain.fd()) :
						       -1U;

	const int err = ring.open(p);

	if (err == -EPERM || err == -EACCES)
		SKIP(return, "%s", skip::no_sqpoll);
	ASSERT_EQ(variant->error, err);
	if (err) {
		ASSERT_EQ(0U, WorkerSet::sqpoll().count());
		ASSERT_EQ(1, thread_count());
	}
	ASSERT_EQ(0, serve(plain, Class::bounded));
}

TEST_HARNESS_MAIN
