// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "deadline.hpp"

#include <algorithm>
#include <atomic>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string_view>
#include <unistd.h>
#include <utility>

static constexpr milliseconds between_looks{ 100 };
static constexpr milliseconds late{ 2'000 };

static std::atomic<bool> paused;
/* When this thread last looked at any Deadline: one wait may be part of another. */
static thread_local Deadline::clock::time_point last_of_all;

void watch_for_pauses()
{
	struct sigaction note = {};

	note.sa_handler = [](int) { paused = true; };
	note.sa_flags = SA_RESTART;
	sigaction(SIGCONT, &note, nullptr);
}

bool was_paused()
{
	return paused;
}

Deadline::Deadline(milliseconds limit) : left(limit)
{
	last_of_all = start;
}

int slowness()
{
	const char *slow = getenv("KSFT_MACHINE_SLOW");
	const std::string_view value = slow ? slow : "";

	return value.empty() || value == "no" || value == "0" ? 1 : 2;
}

milliseconds event_limit()
{
	const char *seconds = getenv("KSFT_EVENT_LIMIT");

	return std::chrono::seconds(seconds ? std::clamp(atoi(seconds), 1, 10) : 10);
}

int Deadline::poll_ms() const
{
	const auto now = clock::now();

	left -= std::min<clock::duration>(now - last_look, between_looks);
	last_look = now;
	if (now - std::exchange(last_of_all, now) > late)
		paused = true;
	return static_cast<int>(
		std::clamp(std::chrono::ceil<milliseconds>(left), milliseconds(0), between_looks)
			.count());
}

std::chrono::microseconds Deadline::spent() const
{
	return std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - start);
}

void Deadline::back_off(int ms) const
{
	poll(nullptr, 0, std::min(ms, poll_ms()));
}

bool await_byte(int fd)
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = fd, .events = POLLIN, .revents = 0 };
	char byte;

	while (!deadline.over())
		if (poll(&p, 1, deadline.poll_ms()) == 1)
			return read(fd, &byte, 1) == 1;
	return false;
}

std::string read_to_end(int fd)
{
	const Deadline deadline(limit::event);
	struct pollfd p = { .fd = fd, .events = POLLIN, .revents = 0 };
	std::string all, part(1 << 16, '\0');

	while (!deadline.over()) {
		if (poll(&p, 1, deadline.poll_ms()) != 1)
			continue;

		const ssize_t len = read(fd, part.data(), part.size());

		if (len <= 0)
			break;
		all.append(part, 0, static_cast<size_t>(len));
	}
	return all;
}
