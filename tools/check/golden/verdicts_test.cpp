// SPDX-License-Identifier: GPL-2.0
/* One test for each verdict there is, and for what a test may meet on its way. */
#include <stdexcept>
#include <string.h>

#include "harness.hpp"

/* Stands in for kernel.cpp, to skip at will. */
const char *cannot_test()
{
	return getenv("GOLDEN_SKIP");
}

TEST(passes)
{
	TH_LOG("for information");
}

TEST(fails)
{
	ASSERT_EQ(0, 1) TH_LOG("open: %s", strerror(EBADF));
	TH_LOG("not reached");
}

TEST(fails_and_goes_on)
{
	EXPECT_TRUE(1 + 1 == 3);
	TH_LOG("reached");
}

TEST(skips)
{
	SKIP(return, "kernel does not know this ring setup flag");
}

TEST(throws)
{
	throw std::runtime_error("thrown");
}

FIXTURE(fixture)
{
	int *made;
};

FIXTURE_SETUP(fixture)
{
	self->made = new int(7);
}

FIXTURE_TEARDOWN(fixture)
{
	TH_LOG("torn down");
	delete self->made;
}

FIXTURE_VARIANT(fixture)
{
	int want;
};

FIXTURE_VARIANT_ADD(fixture, right) { .want = 7 };
FIXTURE_VARIANT_ADD(fixture, wrong) { .want = 8 };

TEST_F(fixture, is_set_up)
{
	ASSERT_EQ(variant->want, *self->made);
}

#ifdef TEST_F_TIMEOUT
TEST_F_TIMEOUT(fixture, takes_too_long, 1)
{
	pause();
}
#endif

TEST_HARNESS_MAIN
