// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "ring_end.hpp"

#include <poll.h>
#include <stdio.h>
#include <thread>

#include "proc.hpp"
#include "ring.hpp"

bool RingEnd::over() const
{
	struct pollfd p = { .fd = rd.get(), .events = 0, .revents = 0 };

	return poll(&p, 1, 0) == 1;
}

bool RingEnd::await(const Deadline &deadline) const
{
	struct pollfd p = { .fd = rd.get(), .events = 0, .revents = 0 };

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return p.revents & POLLHUP;
	return false;
}

bool RingEnd::await() const
{
	const bool ended = await(Deadline(limit::event));

	if (!ended)
		explain_held_ring();
	return ended;
}

void explain_held_ring()
{
	bool ended = false;

	std::thread([&] {
		Uring ring;

		if (ring.open() == 0) {
			const RingEnd end = ring.end();

			ring.close();
			ended = end.await(Deadline(limit::grace));
		}
	}).join();
	fprintf(stderr, "# a ring that is made and closed now %s\n",
		ended ? "ends: the other one is held by its own users"
		      : "does not end either: see io_ring_exit_work(), which others may hold up");
	dump_halted();
}

bool others_end()
{
	bool ended = true;

	/* Not in the caller's pool, which is to be left alone. */
	std::thread([&] {
		for (int i = 0; i < 3 && ended; i++) {
			Uring ring;

			ended = ring.open() == 0;
			if (ended) {
				const RingEnd end = ring.end();

				ring.close();
				ended = end.await();
			}
		}
	}).join();
	return ended;
}
