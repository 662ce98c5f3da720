// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Registrations and set-ups about workers and SQPOLL threads that are wrong fail with the errors
 * of io_uring_register(2) and io_uring_setup(2), and change nothing.  Programs rely on that which
 * probe what a kernel supports, or pass on what others ask for.
 * io_register_iowq_max_workers(), io_register_iowq_aff() and io_sq_offload_create() check.
 */
#include <algorithm>
#include <array>
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#include "cpus.hpp"
#include "harness.hpp"
#include "workers.hpp"

namespace {

/* A page with the protection @protection of mmap(2). */
void *memory(int protection)
{
	return mmap(static_cast<void *>(nullptr), 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, static_cast<off_t>(0));
}

int limits(const Uring &ring, void *arg)
{
	return io_uring_register(static_cast<unsigned>(ring.fd()),
				 IORING_REGISTER_IOWQ_MAX_WORKERS, arg, 2);
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
	for (const unsigned limit : seen) {
		ASSERT_LT(1U, limit)
		{
			TH_LOG("a limit was set by a registration that failed");
		}
	}

	unsigned most[2] = { INT_MAX, INT_MAX };

	ASSERT_EQ(0, limits(ring, most));
	/* The former limits cannot be written there. */
	ASSERT_EQ(-EFAULT, limits(ring, memory(PROT_READ)));
	ASSERT_EQ(0, serve(ring, Class::bounded));
}

TEST(affinity_of_workers)
{
	const cpu_set_t first = allowed_cpu(0);
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, io_uring_register_iowq_aff(ring.get(), sizeof(first), &first));
	ASSERT_EQ(-EFAULT, io_uring_register_iowq_aff(
				   ring.get(), 8, static_cast<cpu_set_t *>(memory(PROT_NONE))));
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const cpu_set_t workers = allowed_cpus(WorkerSet::now().tid());

	ASSERT_TRUE(CPU_EQUAL(&first, &workers))
	{
		TH_LOG("the affinity of workers was changed by a registration that failed");
	}

	/* The child has not used the ring, and so has no workers whose affinity could be set. */
	ASSERT_EQ(EINVAL, in_child([&] {
		const cpu_set_t cpu = allowed_cpu(0);

		return -io_uring_register_iowq_aff(ring.get(), sizeof(cpu), &cpu);
	}));
}

enum class Attach { nothing, pipe, plain_ring };

FIXTURE(setup) {};
FIXTURE_SETUP(setup) {}
FIXTURE_TEARDOWN(setup) {}

FIXTURE_VARIANT(setup)
{
	unsigned flags;
	/* The file that IORING_SETUP_ATTACH_WQ names. */
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
