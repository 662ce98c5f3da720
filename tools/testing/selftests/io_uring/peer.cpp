// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "peer.hpp"

bool Peer::run(std::function<void()> step)
{
	std::unique_lock lock(mutex);

	todo = std::move(step);
	changed.notify_all();
	return changed.wait_for(lock, milliseconds(Deadline(limit::event).poll_ms()),
				[this] { return !todo; });
}

void Peer::loop(const std::stop_token &stop)
{
	std::unique_lock lock(mutex);

	while (changed.wait(lock, stop, [this] { return !!todo; })) {
		todo();
		todo = nullptr;
		changed.notify_all();
	}
}
