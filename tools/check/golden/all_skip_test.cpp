// SPDX-License-Identifier: GPL-2.0
/* Nothing but skips. */
#include "harness.hpp"

const char *cannot_test()
{
	return nullptr;
}

TEST(first)
{
	SKIP(return, "%s", skip::no_promise);
}

TEST(second)
{
	SKIP(return, "%s", skip::no_promise);
}

TEST_HARNESS_MAIN
