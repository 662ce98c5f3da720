/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The harness for tests written in C++: kselftest_harness.h, of which this header defines a few
 * macros anew, and main().
 *
 * In a test, mind that
 * - self is zeroed memory that no constructor runs on.  Keep C++ objects
 *   behind pointers, made in FIXTURE_SETUP() and deleted in
 *   FIXTURE_TEARDOWN().
 * - ASSERT_*() leaves without running destructors, and prints the threads of the test.
 * - a pointer compares with a pointer: ASSERT_TRUE(p), not ASSERT_NE(NULL, p).
 */
#ifndef HARNESS_HPP
#define HARNESS_HPP

/* What the harness' macros expand to is not the test's to answer for. */
#pragma GCC system_header

#include <algorithm>
#include <exception>
#include <type_traits>

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.hpp"
#include "deadline.hpp"
#include "environment.hpp"
#include "kernel.hpp"
#include "kselftest_harness.hpp"
#include "proc.hpp"

/*
 * Ends a test whose wait has no Deadline, in seconds that go on while the program is
 * stopped: more than several waits of limit::event.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 60

inline struct __test_metadata *ksft_running;

/* Ends a test that was paused, as one that was skipped; before v6.10 that was 255. */
template <typename Metadata>
void ksft_skip_paused(Metadata *_metadata)
{
	SKIP(, "%s", skip::paused);
	if constexpr (requires { _metadata->step; })
		_exit(255);
	else
		_exit(KSFT_SKIP);
}

/*
 * A failed assertion calls abort(): whatever failed, the threads and the open rings say
 * what is left.  What fails after a pause is the pause's doing as likely as the kernel's.
 */
inline void ksft_aborts(int)
{
	if (was_paused())
		ksft_skip_paused(ksft_running);
	dump_threads();
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
}

/* Whether the test has failed; before v6.10 the harness said so otherwise. */
template <typename Metadata>
bool ksft_failed(const Metadata *_metadata)
{
	if constexpr (requires { _metadata->exit_code; })
		return _metadata->exit_code == KSFT_FAIL;
	else
		return !_metadata->passed;
}

/*
 * An exception that leaves a test fails it.  The fixture of a test that failed is not torn
 * down, as that might wait for the very thing that failed: all ends with the process.
 */
template <typename F>
void ksft_run(struct __test_metadata *_metadata, F body)
{
	if (ksft_failed(_metadata))
		return;
	ksft_running = _metadata;
	signal(SIGABRT, ksft_aborts);
	watch_for_pauses();
	try {
		body();
	} catch (const std::exception &e) {
		EXPECT_STREQ("no exception", e.what());
	}
}

#undef TEST
#define TEST(test_name)							\
	static void test_name##_body(struct __test_metadata *);		\
	__TEST_IMPL(test_name, -1)					\
	{								\
		ksft_run(_metadata, [&] { test_name##_body(_metadata); }); \
	}								\
	static void test_name##_body(					\
		[[maybe_unused]] struct __test_metadata *_metadata)

/*
 * The harness calls the functions of a fixture with the variant, and since
 * v6.16 self, as void *.  Take these calls on to the function proper.
 */
#define __KSFT_FORWARD(fn, fixture_name)				\
	static void fn(struct __test_metadata *,			\
		       FIXTURE_DATA(fixture_name) *,			\
		       const FIXTURE_VARIANT(fixture_name) *);		\
	[[maybe_unused]] static void					\
	fn(struct __test_metadata *_metadata, void *self, const void *variant) \
	{								\
		using data = FIXTURE_DATA(fixture_name);		\
		using param = FIXTURE_VARIANT(fixture_name);		\
									\
		ksft_run(_metadata, [&] {				\
			fn(_metadata, static_cast<data *>(self),	\
			   static_cast<const param *>(variant));	\
		});							\
	}

#define __KSFT_FIXTURE_FN(fn, fixture_name)				\
	__KSFT_FORWARD(fn, fixture_name)				\
	static void							\
	fn([[maybe_unused]] struct __test_metadata *_metadata,		\
	   [[maybe_unused]] FIXTURE_DATA(fixture_name) *self,		\
	   [[maybe_unused]] const FIXTURE_VARIANT(fixture_name) *variant)

#undef FIXTURE_SETUP
#define FIXTURE_SETUP(fixture_name)					\
	static_assert(std::is_trivially_copyable_v<FIXTURE_DATA(fixture_name)> && \
		      std::is_trivially_default_constructible_v<FIXTURE_DATA(fixture_name)>, \
		      "FIXTURE(" #fixture_name ") is not a trivial type"); \
	__KSFT_FIXTURE_FN(fixture_name##_setup, fixture_name)

#undef FIXTURE_TEARDOWN
#define FIXTURE_TEARDOWN(fixture_name)					\
	[[maybe_unused]]						\
	static const bool fixture_name##_teardown_parent = false;	\
	__KSFT_FIXTURE_FN(fixture_name##_teardown, fixture_name)

#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture_name, test_name, timeout)		\
	__KSFT_FORWARD(fixture_name##_##test_name, fixture_name)	\
	__TEST_F_IMPL(fixture_name, test_name, -1, timeout)

#undef TEST_F
#define TEST_F(fixture_name, test_name)					\
	TEST_F_TIMEOUT(fixture_name, test_name, TEST_TIMEOUT_DEFAULT)

/* For pointers and objects, too, that convert to bool. */
#define __KSFT_BOOL(seen, str, op, assert)				\
	__EXPECT(false, "0", static_cast<bool>(seen), str, op, assert)

#undef ASSERT_TRUE
#define ASSERT_TRUE(seen) __KSFT_BOOL(seen, #seen, !=, 1)
#undef EXPECT_TRUE
#define EXPECT_TRUE(seen) __KSFT_BOOL(seen, #seen, !=, 0)
#undef ASSERT_FALSE
#define ASSERT_FALSE(seen) __KSFT_BOOL(seen, #seen, ==, 1)

/*
 * To be defined by a program that cannot do with io_uring alone: why it cannot
 * test here, or a null pointer.  Is given main()'s @argv.
 */
[[gnu::weak]] const char *program_cannot_test(char **argv);

/*
 * main() of each program; the one that TEST_HARNESS_MAIN defines becomes
 * harness_main().
 */
int harness_main(int argc, char **argv);

/* What is missing of stdin, stdout and stderr: else a file of a test's own takes its place. */
static inline void ksft_open_streams(void)
{
	int fd;

	do {
		fd = memfd_create("standard stream", 0);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
}

int main(int argc, char **argv)
{
	if (Process::is_another(argv))
		return Process::run_another();
	ksft_open_streams();
	look_after_children();

	/* No core file, nor a run of what kernel.core_pattern names (do_coredump()). */
	struct rlimit core;

	getrlimit(RLIMIT_CORE, &core);
	core.rlim_cur = std::min<rlim_t>(1, core.rlim_max);
	setrlimit(RLIMIT_CORE, &core);

	/* These lists are all that is asked for. */
	const bool lists = argc > 1 && (!strcmp(argv[1], "-l") || !strcmp(argv[1], "-h"));
	const char *why = lists ? nullptr : shed_inheritance();

	learn_wchan();
	if (!why && !lists)
		why = cannot_test();
	if (!why && !lists && program_cannot_test)
		why = program_cannot_test(argv);
	if (why) {
		ksft_print_header();
		ksft_exit_skip("%s\n", why);
	}
	for (auto *fixture = __fixture_list; fixture; fixture = fixture->next)
		for (auto *test = fixture->tests; test; test = test->next)
			test->timeout *= slowness();
	return harness_main(argc, argv);
}

#define main harness_main

#endif /* HARNESS_HPP */
