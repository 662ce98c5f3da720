// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Rings are registered with a task and unregistered again as io_uring_register(2) says: at an
 * index that the caller or the kernel chooses, in the order of the array that is passed, until
 * one of them is wrong.  What is wrong changes nothing.  Programs that use many rings, or pass on
 * what others ask for, rely on that.  io_ringfd_register() and io_ringfd_unregister() check.
 */
#include <array>
#include <errno.h>
#include <sys/mman.h>

#include "harness.hpp"
#include "workers.hpp"

namespace {

using Update = struct io_uring_rsrc_update;

int register_rings(const Uring &ring, void *updates, unsigned nr)
{
	return io_uring_register(static_cast<unsigned>(ring.fd()), IORING_REGISTER_RING_FDS,
				 updates, nr);
}

int unregister_rings(const Uring &ring, void *updates, unsigned nr)
{
	return io_uring_register(static_cast<unsigned>(ring.fd()), IORING_UNREGISTER_RING_FDS,
				 updates, nr);
}

constexpr unsigned places = 16; /* of a task, for registered rings */
constexpr unsigned any_place = -1U; /* the kernel chooses */

Update update(unsigned offset, int fd, unsigned resv = 0)
{
	return { .offset = offset, .resv = resv, .data = static_cast<__u64>(fd) };
}

/* A page of memory with the protection @protection of mmap(2). */
void *page(int protection)
{
	return mmap(static_cast<void *>(nullptr), 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, static_cast<off_t>(0));
}

} // namespace

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

	Update two[] = { update(0, 0), update(places - 1, 0) };

	ASSERT_EQ(1, unregister_rings(ring, two, 1));
	ASSERT_EQ(-EBUSY, register_rings(ring, &last, 1)) TH_LOG("two were told, of one asked");
	free = update(any_place, ring.fd());
	ASSERT_EQ(1, register_rings(ring, &free, 1));
	last.data = 0;
	ASSERT_EQ(1, unregister_rings(ring, &last, 1));
	ASSERT_EQ(1, unregister_rings(ring, &last, 1)) TH_LOG("an empty place is no error");
	last = update(places - 1, ring.fd());
	ASSERT_EQ(1, register_rings(ring, &last, 1));

	/* One place is taken, so that the last of these finds none. */
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
	ASSERT_EQ(-EFAULT, register_rings(ring, page(PROT_NONE), 1));

	const struct {
		Update asked;
		int error;
	} wrong[] = {
		{ update(places, ring.fd()), -EINVAL },
		{ update(any_place, ring.fd(), 1), -EINVAL },
		{ update(any_place, -1), -EBADF },
	};

	for (const auto &[one, error] : wrong) {
		/* Of two, the first is right, and is registered. */
		Update two[2] = { update(3, ring.fd()), one };

		ASSERT_EQ(error, register_rings(ring, &two[1], 1));
		two[1] = one;
		ASSERT_EQ(1, register_rings(ring, two, 2));
		two[0].data = 0;
		ASSERT_EQ(1, unregister_rings(ring, two, 1));
	}
	/* This file is no ring; since v6.3 the error is EOPNOTSUPP. */
	Update no_ring = update(any_place, pipe.rd.get());
	const int err = register_rings(ring, &no_ring, 1);

	ASSERT_TRUE(err == -EOPNOTSUPP || err == -EBADF) TH_LOG("%d", err);

	/* Nor is it held any longer. */
	signal(SIGPIPE, SIG_IGN);
	pipe.rd.close();
	ASSERT_EQ(-1, write(pipe.wr.get(), "", 1)) TH_LOG("see io_ring_add_registered_fd()");
	ASSERT_EQ(EPIPE, errno);

	/* The kernel cannot write the place there, and so does not take it. */
	auto *mine = static_cast<Update *>(page(PROT_READ | PROT_WRITE));

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
	ASSERT_EQ(-EFAULT, unregister_rings(ring, page(PROT_NONE), 1));
	for (const Update &wrong : { update(places, 0), update(0, 0, 1), update(0, 1) }) {
		Update two[2] = { update(0, 0), wrong };

		ASSERT_EQ(-EINVAL, unregister_rings(ring, &two[1], 1))
		{
			TH_LOG("place %u", wrong.offset);
		}
		ASSERT_EQ(1, unregister_rings(ring, two, 2));
	}
	/* A task that never had a ring has none to unregister. */
	ASSERT_EQ(0, in_child([&] { return unregister_rings(ring, many.data(), 1); }));
	ASSERT_EQ(EINVAL, in_child([&] { return -unregister_rings(ring, many.data(), 0); }));
}

TEST_HARNESS_MAIN
