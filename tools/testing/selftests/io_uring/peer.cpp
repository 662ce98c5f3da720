// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "peer.hpp"

bool PeerThread::run(std::function<void()> step)
{
	const Deadline deadline(limit::event);
	std::unique_lock lock(mutex);

	todo = std::move(step);
	changed.notify_all();
	while (!changed.wait_for(lock, milliseconds(deadline.poll_ms()), [this] { return !todo; }))
		if (deadline.over())
			return false;
	return true;
}

void PeerThread::loop(const std::stop_token &stop)
{
	std::unique_lock lock(mutex);

	while (changed.wait(lock, stop, [this] { return !!todo; })) {
		todo();
		todo = nullptr;
		changed.notify_all();
	}
}
