// SPDX-License-Identifier: GPL-2.0
/* Is ended by the runner, for the time-out in settings. */
#include "harness.hpp"

const char *cannot_test()
{
	return nullptr;
}

TEST(waits_for_ever)
{
	pause();
}

TEST_HARNESS_MAIN
