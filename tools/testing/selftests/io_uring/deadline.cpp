// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "deadline.hpp"

#include <algorithm>
#include <poll.h>
#include <stdlib.h>

Deadline::Deadline(milliseconds limit)
	: start(clock::now()), end(start + (getenv("KSFT_MACHINE_SLOW") ? 2 * limit : limit))
{
}

int Deadline::poll_ms() const
{
	const auto left = std::chrono::ceil<milliseconds>(end - clock::now());

	return static_cast<int>(std::max<milliseconds::rep>(left.count(), 0));
}

std::chrono::microseconds Deadline::spent() const
{
	return std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - start);
}

void Deadline::back_off(int ms) const
{
	poll(nullptr, 0, std::min(ms, poll_ms()));
}
