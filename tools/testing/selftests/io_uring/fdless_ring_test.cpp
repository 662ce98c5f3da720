// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring may have no descriptor, but only an index among the rings that its task has registered
 * (IORING_SETUP_REGISTERED_FD_ONLY).  Workers stay with it as with any ring, and leave when it is
 * unregistered, or when its task ends.  Programs rely on that which have more rings than
 * descriptors, or libraries that close descriptors of others.
 * io_uring_unreg_ringfd() and io_ringfd_unregister() let go of the ring's file.
 */
#include <string.h>
#include <sys/mman.h>
#include <system_error>

#include "peer.hpp"
#include "promise.hpp"

#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14)
#endif
#ifndef IORING_SETUP_REGISTERED_FD_ONLY
#define IORING_SETUP_REGISTERED_FD_ONLY (1U << 15)
#endif

namespace {

constexpr unsigned entries = 4;
constexpr size_t page = 65536; /* the largest that Linux has */

/* A ring in the program's own memory: one page has both queues, and another one the SQEs. */
class FdlessRing {
public:
	/* 0, or -errno. */
	int open();
	/* Has a worker do a request.  Its result, or -errno. */
	int serve();
	/* As Uring::end(). */
	RingEnd end();
	/* 0, or -errno. */
	int close();

private:
	int call(unsigned opcode, const void *arg)
	{
		return io_uring_register(index, opcode | uapi::use_registered_ring, arg, 1);
	}
	unsigned *at(unsigned offset)
	{
		return reinterpret_cast<unsigned *>(memory + offset);
	}

	struct io_uring_params p = {};
	char *memory = nullptr;
	unsigned index = 0;
};

int FdlessRing::open()
{
	void *const map = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	memory = static_cast<char *>(map);

	const __u64 rings = reinterpret_cast<uintptr_t>(memory), sqes = rings + page;

	/* These are the user_addr of both, their last 64 bits, which liburing 2.3 does not name. */
	memcpy(reinterpret_cast<char *>(&p.cq_off + 1) - sizeof(rings), &rings, sizeof(rings));
	memcpy(reinterpret_cast<char *>(&p.sq_off + 1) - sizeof(sqes), &sqes, sizeof(sqes));
	p.flags = IORING_SETUP_NO_MMAP | IORING_SETUP_REGISTERED_FD_ONLY;

	const int ret = io_uring_setup(entries, &p);

	if (ret < 0)
		return ret;
	index = static_cast<unsigned>(ret);
	return 0;
}

int FdlessRing::serve()
{
	auto *sqe = reinterpret_cast<struct io_uring_sqe *>(memory + page);
	unsigned *const tail = at(p.sq_off.tail), *const head = at(p.cq_off.head);

	io_uring_prep_nop(sqe);
	sqe->flags = IOSQE_ASYNC;
	at(p.sq_off.array)[*tail % entries] = 0;
	io_uring_smp_store_release(tail, *tail + 1);

	constexpr unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
	const int ret = io_uring_enter(index, 1, 1, flags, nullptr);

	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	if (io_uring_smp_load_acquire(at(p.cq_off.tail)) == *head)
		return -ENODATA;

	const auto *cqes = reinterpret_cast<struct io_uring_cqe *>(memory + p.cq_off.cqes);
	const int res = cqes[*head % p.cq_entries].res;

	io_uring_smp_store_release(head, *head + 1);
	return res;
}

RingEnd FdlessRing::end()
{
	PipeEnds pipe;
	int err = pipe.open();

	if (!err) {
		const int wr = pipe.wr.get();

		err = call(IORING_REGISTER_FILES, &wr);
	}
	if (err)
		throw std::system_error(-err, std::generic_category(), "IORING_REGISTER_FILES");
	return RingEnd(std::move(pipe.rd));
}

int FdlessRing::close()
{
	struct io_uring_rsrc_update place = {};

	place.offset = index;
	const int ret = call(IORING_UNREGISTER_RING_FDS, &place);

	return ret == 1 ? 0 : ret;
}

} // namespace

FIXTURE(fdless)
{
	FdlessRing *ring;
};

FIXTURE_SETUP(fdless)
{
	self->ring = new FdlessRing;
}

FIXTURE_TEARDOWN(fdless)
{
	delete self->ring;
}

TEST_F(fdless, unregistered)
{
	FdlessRing &ring = *self->ring;
	const int err = ring.open();

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err)
	{
		TH_LOG("io_uring_setup: %s", strerror(-err));
	}
	ASSERT_EQ(0, ring.serve());

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	/* The end of another ring of this task makes the kernel decide about idle workers. */
	{
		Uring other;

		ASSERT_EQ(0, other.open());
		const RingEnd its_end = other.end();

		other.close();
		ASSERT_TRUE(its_end.await());
	}
	ASSERT_EQ(1U, worker.count());
	ASSERT_TRUE(others_end());
	ASSERT_TRUE(worker.await_asleep());
	ASSERT_EQ(0, ring.serve());
	ASSERT_EQ(1U, worker.alive());

	ASSERT_EQ(0, ring.close());
	ASSERT_WORKERS_EXIT(worker, end);
}

/* The ring ends with its thread, as no other has it registered. */
TEST_F(fdless, thread_ends)
{
	FdlessRing &ring = *self->ring;
	PeerThread peer;
	const int err = peer.run([&] {
		const int err = ring.open();

		return err ? err : ring.serve();
	});

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_setup_flag);
	ASSERT_EQ(0, err)
	{
		TH_LOG("ring: %s", strerror(-err));
	}

	const WorkerSet worker = WorkerSet::now();
	RingEnd end;

	ASSERT_EQ(0, peer.run([&] {
		end = ring.end();
		return 0;
	}));
	ASSERT_EQ(1U, worker.count());

	peer.end();
	ASSERT_WORKERS_END(worker);
	peer.join();
	ASSERT_TRUE(end.await())
	{
		TH_LOG("the ring of a thread that ended was not freed");
	}
}

TEST_HARNESS_MAIN
