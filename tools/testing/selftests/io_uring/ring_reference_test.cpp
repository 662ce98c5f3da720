// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A ring ends with the last reference to its file, not with close().  As long as there is a
 * reference, the tasks that used the ring keep their workers; with the last one, the workers
 * leave.  Programs that share rings among threads and processes, or map them, rely on that.
 * The last fput() calls io_uring_release(), and nothing else starts the ring's end.
 */
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
	PeerThread peer;
	Uring watcher;
	/* Gives the reference up.  0, or -errno. */
	std::function<int()> drop;
};

/* A child that has copies of this process' files and mappings until it has done @drop(). */
int take_child(Holder &held, const std::function<void()> &drop,
	       const std::function<void()> &first = [] {})
{
	const int err = held.child.start([&](Process &child) {
		first();
		child.step();
		drop();
		child.step();
		return 0;
	});

	held.drop = [&] { return held.child.go(); };
	return err ? err : held.child.await_step() ? 0 : -ECHILD;
}

/* Maps a page of what is at @offset of the ring's file. */
int take_mapping(Holder &held, const Uring &ring, off_t offset)
{
	void *const map = mmap(nullptr, 1, PROT_READ, MAP_SHARED, ring.fd(), offset);

	held.drop = [=] { return munmap(map, 1) ? -errno : 0; };
	return map == MAP_FAILED ? -errno : 0;
}

/* Registers the file of @ring with the task that calls.  0, or -errno. */
int register_ring(Holder &held, Uring &ring)
{
	struct io_uring_rsrc_update place = { .offset = -1U, .resv = 0,
					      .data = static_cast<__u64>(ring.fd()) };
	const int ret = io_uring_register(static_cast<unsigned>(ring.fd()),
					  IORING_REGISTER_RING_FDS, &place, 1);

	/* The system call uses the very reference that it gives up. */
	held.drop = [index = place.offset] {
		struct io_uring_rsrc_update place = { .offset = index, .resv = 0, .data = 0 };
		const unsigned opcode = IORING_UNREGISTER_RING_FDS | uapi::use_registered_ring;
		const int ret = io_uring_register(index, opcode, &place, 1);

		return ret == 1 ? 0 : ret;
	};
	return ret == 1 ? 0 : ret;
}

/* Has the peer take a reference, that ends with the peer. */
int take_by_peer(Holder &held, const std::function<int()> &take)
{
	const int err = held.peer.run(take);

	held.drop = [&] {
		held.peer.end();
		held.peer.join();
		return 0;
	};
	return err;
}

} // namespace

FIXTURE(reference) {};
FIXTURE_SETUP(reference) {}
FIXTURE_TEARDOWN(reference) {}

FIXTURE_VARIANT(reference)
{
	/* Takes a reference besides @ring's own, and sets @held.drop.  0, or -errno. */
	int (*take)(Holder &held, Uring &ring);
};

FIXTURE_VARIANT_ADD(reference, duplicate_fd)
{
	.take = [](Holder &held, Uring &ring) {
		const int fd = dup(ring.fd());

		held.drop = [=] { return close(fd) ? -errno : 0; };
		return fd < 0 ? -errno : 0;
	}
};
FIXTURE_VARIANT_ADD(reference, child_that_closes)
{
	.take = [](Holder &held, Uring &ring) { return take_child(held, [&] { ring.close(); }); }
};
FIXTURE_VARIANT_ADD(reference, child_that_exits)
{
	.take = [](Holder &held, Uring &) { return take_child(held, [] { _exit(0); }); }
};
FIXTURE_VARIANT_ADD(reference, child_that_is_killed)
{
	.take = [](Holder &held, Uring &) {
		const int err = take_child(held, [] {});

		held.drop = [&] { return held.child.signal(SIGKILL); };
		return err;
	}
};
/* execve(2) closes the descriptor, which is close-on-exec, and drops the mappings. */
FIXTURE_VARIANT_ADD(reference, child_that_execs)
{
	.take = [](Holder &held, Uring &) {
		const int err = take_child(held, Process::become_another);

		held.drop = [&] {
			return held.child.go() || !held.child.await_step() ? -ENOEXEC : 0;
		};
		return err;
	}
};
FIXTURE_VARIANT_ADD(reference, mapping_in_child)
{
	.take = [](Holder &held, Uring &ring) {
		return take_child(held, [] { _exit(0); }, [&] { close(ring.fd()); });
	}
};
FIXTURE_VARIANT_ADD(reference, mapping_of_rings)
{
	.take = [](Holder &held, Uring &ring) {
		return take_mapping(held, ring, IORING_OFF_SQ_RING);
	}
};
FIXTURE_VARIANT_ADD(reference, mapping_of_sqes)
{
	.take = [](Holder &held, Uring &ring) { return take_mapping(held, ring, IORING_OFF_SQES); }
};
FIXTURE_VARIANT_ADD(reference, registered_by_owner) { .take = register_ring };
FIXTURE_VARIANT_ADD(reference, registered_by_thread_that_unregisters)
{
	.take = [](Holder &held, Uring &ring) {
		const int err = held.peer.run([&] { return register_ring(held, ring); });

		held.drop = [&, unregister = held.drop] { return held.peer.run(unregister); };
		return err;
	}
};
FIXTURE_VARIANT_ADD(reference, registered_by_thread_that_ends)
{
	.take = [](Holder &held, Uring &ring) {
		return take_by_peer(held, [&] { return register_ring(held, ring); });
	}
};
/* A thread's descriptors may be its own, as after the unshare(CLONE_FILES) that Docker forbids. */
FIXTURE_VARIANT_ADD(reference, unshared_files_of_thread)
{
	.take = [](Holder &held, Uring &) {
		return take_by_peer(held, [] {
			return close_range(~0U, ~0U, CLOSE_RANGE_UNSHARE) ? -errno : 0;
		});
	}
};
/* Another thread polls the ring's file, by a ring of its own. */
FIXTURE_VARIANT_ADD(reference, request_of_another_ring)
{
	.take = [](Holder &held, Uring &ring) {
		held.drop = [&] {
			return held.peer.run([&] {
				held.watcher.close();
				return 0;
			});
		};
		return held.peer.run([&] {
			if (const int err = held.watcher.open())
				return err;
			io_uring_prep_poll_add(io_uring_get_sqe(held.watcher.get()), ring.fd(),
					       POLLPRI);
			return io_uring_submit(held.watcher.get()) == 1 ? 0 : -EIO;
		});
	}
};
/* A thread waits for two completions.  It is in the system call once the first request is done. */
FIXTURE_VARIANT_ADD(reference, system_call_in_progress)
{
	.take = [](Holder &held, Uring &ring) {
		static std::atomic<pid_t> waiter;
		struct sigaction interrupt = {};
		PipeEnds entered;

		interrupt.sa_handler = [](int) {};
		if (sigaction(SIGUSR1, &interrupt, nullptr) || entered.open())
			return -EIO;
		io_uring_prep_write(io_uring_get_sqe(ring.get()), entered.wr.get(), "", 1, 0);
		std::thread([&ring] {
			waiter = gettid();
			io_uring_submit_and_wait(ring.get(), 2);
		}).detach();
		held.drop = [] { return tgkill(getpid(), waiter, SIGUSR1) ? -errno : 0; };
		return await_byte(entered.rd.get()) ? 0 : -ETIME;
	}
};

TEST_F(reference, keeps_worker)
{
	Holder held;
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
	ASSERT_EQ(0, err) TH_LOG("to take a reference: %s", strerror(-err));

	ring.close();
	ASSERT_TRUE(others_end());
	ASSERT_FALSE(end.over()) TH_LOG("the ring is gone in spite of a reference");
	ASSERT_TRUE(worker.await_asleep());
	err = held.drop();
	if (err == -EINVAL)
		SKIP(return, "%s", skip::no_registration);
	ASSERT_EQ(0, err) TH_LOG("to give the reference up: %s", strerror(-err));
	ASSERT_WORKERS_EXIT(worker, end);
}

TEST_HARNESS_MAIN
