// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "ring_end.hpp"

#include <poll.h>
#include <thread>

#include "deadline.hpp"
#include "ring.hpp"

bool RingEnd::over() const
{
	struct pollfd p = { .fd = rd.get(), .events = 0, .revents = 0 };

	return poll(&p, 1, 0) == 1;
}

bool RingEnd::await() const
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = rd.get(), .events = 0, .revents = 0 };

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return p.revents & POLLHUP;
	return false;
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
