// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "peer.hpp"

#include <errno.h>

int PeerThread::run(std::function<int()> step)
{
	const Deadline deadline(limit::event);
	std::unique_lock lock(mutex);

	todo = std::move(step);
	changed.notify_all();
	while (!changed.wait_for(lock, milliseconds(deadline.poll_ms()), [this] { return !todo; }))
		if (deadline.over())
			return -ETIME;
	return result;
}

void PeerThread::loop(const std::stop_token &stop)
{
	std::unique_lock lock(mutex);

	while (changed.wait(lock, stop, [this] { return !!todo; })) {
		result = todo();
		todo = nullptr;
		changed.notify_all();
	}
}
