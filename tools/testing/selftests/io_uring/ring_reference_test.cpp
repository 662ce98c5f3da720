// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring ends with the last reference to its file, not with close().  As long as anything
 * holds that file, the tasks that used the ring keep their workers; once it lets go, the
 * workers leave.  Programs that share rings among threads and processes, or map them, rely on
 * that.  The last fput() calls io_uring_release(), and nothing else starts the ring's end.
 */
#include <memory>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "child.hpp"
#include "peer.hpp"
#include "promise.hpp"

namespace {

/* Where a variant keeps its reference to the ring. */
struct Holder {
	Process child;
	std::unique_ptr<PeerThread> peer = std::make_unique<PeerThread>();
	Uring watcher;
	Fd fd;
	pid_t waiter = -1;
	void *map = MAP_FAILED;
	size_t len = 0;
	__u32 index = 0;
};

/* A child with a copy of this process' files and mappings, until it goes on. */
int take_child(Holder &held, const std::function<void()> &before,
	       const std::function<void()> &after)
{
	const int err = held.child.start([&](Process &child) {
		before();
		child.step();
		after();
		child.step();
		return 0;
	});

	return err ? err : held.child.await_step() ? 0 : -ECHILD;
}

void nothing() {}

int child_goes_on(Holder &held)
{
	return held.child.go();
}

int take_mapping(Holder &held, const Uring &ring, size_t len, off_t offset)
{
	held.len = len;
	held.map = mmap(nullptr, len, PROT_READ, MAP_SHARED, ring.fd(), offset);
	return held.map == MAP_FAILED ? -errno : 0;
}

int unmap(Holder &held)
{
	return munmap(held.map, held.len) ? -errno : 0;
}

/* Registers the file of @ring with the task that calls. */
int register_ring(Holder &held, Uring &ring)
{
	struct io_uring_rsrc_update arg = {};

	arg.offset = -1U;
	arg.data = static_cast<__u64>(ring.fd());

	const int ret = io_uring_register(static_cast<unsigned>(ring.fd()),
					  IORING_REGISTER_RING_FDS, &arg, 1);

	held.index = arg.offset;
	return ret == 1 ? 0 : ret;
}

/* It calls by the very reference that it gives up. */
int unregister_ring(Holder &held)
{
	struct io_uring_rsrc_update arg = {};

	arg.offset = held.index;
	constexpr unsigned opcode = IORING_UNREGISTER_RING_FDS | uapi::use_registered_ring;
	const int ret = io_uring_register(held.index, opcode, &arg, 1);

	return ret == 1 ? 0 : ret;
}

int end_peer(Holder &held)
{
	held.peer.reset();
	return 0;
}

} // namespace

FIXTURE(reference)
{
	Holder *held;
};

FIXTURE_SETUP(reference)
{
	self->held = new Holder;
}

FIXTURE_TEARDOWN(reference)
{
	delete self->held;
}

FIXTURE_VARIANT(reference)
{
	/* Takes a reference besides @ring's own.  0, or -errno. */
	int (*take)(Holder &held, Uring &ring);
	/* Gives it up.  0, or -errno. */
	int (*drop)(Holder &held);
};

FIXTURE_VARIANT_ADD(reference, duplicate_fd)
{
	.take = [](Holder &held, Uring &ring) {
		held.fd = Fd::from(dup(ring.fd()));
		return held.fd.error();
	},
	.drop = [](Holder &held) {
		held.fd.close();
		return 0;
	}
};
FIXTURE_VARIANT_ADD(reference, child_that_closes)
{
	.take = [](Holder &held, Uring &ring) {
		return take_child(held, nothing, [&] { ring.close(); });
	},
	.drop = child_goes_on
};
FIXTURE_VARIANT_ADD(reference, child_that_exits)
{
	.take = [](Holder &held, Uring &) { return take_child(held, nothing, [] { _exit(0); }); },
	.drop = child_goes_on
};
FIXTURE_VARIANT_ADD(reference, child_that_is_killed)
{
	.take = [](Holder &held, Uring &) { return take_child(held, nothing, nothing); },
	.drop = [](Holder &held) { return held.child.signal(SIGKILL); }
};
/* Descriptor and mappings go by execve(2). */
FIXTURE_VARIANT_ADD(reference, child_that_execs)
{
	.take = [](Holder &held, Uring &) {
		return take_child(held, nothing, Process::become_another);
	},
	.drop = [](Holder &held) {
		return held.child.go() || !held.child.await_step() ? -ENOEXEC : 0;
	}
};
FIXTURE_VARIANT_ADD(reference, mapping_in_child)
{
	.take = [](Holder &held, Uring &ring) {
		return take_child(held, [&] { close(ring.fd()); }, [] { _exit(0); });
	},
	.drop = child_goes_on
};
FIXTURE_VARIANT_ADD(reference, mapping_of_rings)
{
	.take = [](Holder &held, Uring &ring) {
		return take_mapping(held, ring, ring.get()->sq.ring_sz, IORING_OFF_SQ_RING);
	},
	.drop = unmap
};
FIXTURE_VARIANT_ADD(reference, mapping_of_sqes)
{
	.take = [](Holder &held, Uring &ring) {
		return take_mapping(held, ring, 64 * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	},
	.drop = unmap
};
FIXTURE_VARIANT_ADD(reference, registered_by_owner)
{
	.take = register_ring,
	.drop = unregister_ring
};
FIXTURE_VARIANT_ADD(reference, registered_by_thread_that_unregisters)
{
	.take = [](Holder &held, Uring &ring) {
		return held.peer->run([&] { return register_ring(held, ring); });
	},
	.drop = [](Holder &held) { return held.peer->run([&] { return unregister_ring(held); }); }
};
FIXTURE_VARIANT_ADD(reference, registered_by_thread_that_ends)
{
	.take = [](Holder &held, Uring &ring) {
		return held.peer->run([&] { return register_ring(held, ring); });
	},
	.drop = end_peer
};
/* A thread's descriptors may be its own, as after the unshare(CLONE_FILES) that Docker forbids. */
FIXTURE_VARIANT_ADD(reference, unshared_files_of_thread)
{
	.take = [](Holder &held, Uring &) {
		return held.peer->run([] {
			return close_range(~0U, ~0U, CLOSE_RANGE_UNSHARE) ? -errno : 0;
		});
	},
	.drop = end_peer
};
/* A poll of the ring's file, by a ring that another thread has. */
FIXTURE_VARIANT_ADD(reference, request_of_another_ring)
{
	.take = [](Holder &held, Uring &ring) {
		return held.peer->run([&] {
			if (const int err = held.watcher.open())
				return err;
			io_uring_prep_poll_add(io_uring_get_sqe(held.watcher.get()), ring.fd(),
					       POLLPRI);
			return io_uring_submit(held.watcher.get()) == 1 ? 0 : -EIO;
		});
	},
	.drop = [](Holder &held) {
		return held.peer->run([&] {
			held.watcher.close();
			return 0;
		});
	}
};
/* Once the first request has written, the thread is in the system call. */
FIXTURE_VARIANT_ADD(reference, system_call_in_progress)
{
	.take = [](Holder &held, Uring &ring) {
		struct sigaction interrupt = {};
		PipeEnds entered;

		interrupt.sa_handler = [](int) {};
		if (sigaction(SIGUSR1, &interrupt, nullptr))
			return -errno;
		if (const int err = entered.open())
			return err;
		io_uring_prep_write(io_uring_get_sqe(ring.get()), entered.wr.get(), "", 1, 0);
		std::thread([&held, &ring] {
			held.waiter = gettid();
			io_uring_submit_and_wait(ring.get(), 2);
		}).detach();
		return await_byte(entered.rd.get()) ? 0 : -ETIME;
	},
	.drop = [](Holder &held) {
		return tgkill(getpid(), held.waiter, SIGUSR1) ? -errno : 0;
	}
};

TEST_F(reference, keeps_worker)
{
	Holder &held = *self->held;
	Uring ring;

	ASSERT_EQ(0, ring.open());
	ASSERT_EQ(0, serve(ring, Class::bounded));

	const WorkerSet worker = WorkerSet::now();
	const RingEnd end = ring.end();

	ASSERT_EQ(1U, worker.count());

	int err = variant->take(held, ring);

	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	if (err == -EPERM || err == -ENOSYS)
		SKIP(return, "%s", skip::no_unshare);
	ASSERT_EQ(0, err)
	{
		TH_LOG("reference: %s", strerror(-err));
	}

	ring.close();
	ASSERT_TRUE(others_end());
	ASSERT_FALSE(end.over())
	{
		TH_LOG("the ring is gone in spite of a reference");
	}
	ASSERT_TRUE(worker.await_asleep());

	err = variant->drop(held);
	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_EQ(0, err)
	{
		TH_LOG("giving the reference up: %s", strerror(-err));
	}
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
