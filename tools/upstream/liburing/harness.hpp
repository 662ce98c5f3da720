/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Stands in for kselftest's harness in liburing, whose tests tell their verdict by
 * exit status, are silent unless they fail, and take no arguments.  Each test is a
 * process of its own; the program skips where none of them could run.
 */
#ifndef HARNESS_HPP
#define HARNESS_HPP

/* What the macros expand to is not the test's to answer for. */
#pragma GCC system_header

#include <functional>
#include <signal.h>
#include <stdio.h>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

/* helpers.h is C, and so would all be that it includes first. */
#include <liburing.h>
#include "helpers.h"
#include "kernel.hpp"

struct __test_metadata {
	std::string name;
	std::function<void(struct __test_metadata *)> body;
	/* In seconds. */
	unsigned time_limit;
	int verdict = T_EXIT_PASS;
	/* For information, until the test fails. */
	std::string log = {};
};

inline std::vector<struct __test_metadata> &all_tests()
{
	static std::vector<struct __test_metadata> tests;

	return tests;
}

inline bool add_test(std::string name, std::function<void(struct __test_metadata *)> body,
		     unsigned time_limit = 30)
{
	all_tests().push_back({ .name = std::move(name),
				.body = std::move(body),
				.time_limit = time_limit });
	return true;
}

/* The test's process dies with its parent, also in a test that changed its credentials. */
inline void die_with_parent()
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

inline void fail(struct __test_metadata *_metadata)
{
	_metadata->verdict = T_EXIT_FAIL;
	fputs(std::exchange(_metadata->log, {}).c_str(), stderr);
}

#define TH_LOG(fmt, ...)							\
do {										\
	char line[1024];							\
										\
	snprintf(line, sizeof(line), "# %s:%d:%s:" fmt "\n", __FILE__, __LINE__, \
		 _metadata->name.c_str(), ##__VA_ARGS__);			\
	_metadata->log += line;							\
	if (_metadata->verdict == T_EXIT_FAIL)					\
		fail(_metadata);						\
} while (0)

#define SKIP(statement, fmt, ...)						\
do {										\
	fprintf(stderr, "%s: " fmt "\n", _metadata->name.c_str(), ##__VA_ARGS__); \
	_metadata->verdict = T_EXIT_SKIP;					\
	statement;								\
} while (0)

/* Ends the loop that a failed check is, after the handler that may follow it. */
inline bool bail(bool fatal)
{
	if (fatal)
		_exit(T_EXIT_FAIL);
	return false;
}

#define __CHECK(expected, op, seen, fatal)					\
	for (bool failed = [&](const auto &want, const auto &got) {		\
		if (want op got)						\
			return false;						\
		fail(_metadata);						\
		TH_LOG("Expected %s (%lld) %s %s (%lld)", #expected,		\
		       static_cast<long long>(want), #op, #seen,		\
		       static_cast<long long>(got));				\
		return true;							\
	}(expected, seen); failed; failed = bail(fatal))

#define ASSERT_EQ(expected, seen) __CHECK(expected, ==, seen, true)
#define ASSERT_NE(expected, seen) __CHECK(expected, !=, seen, true)
#define ASSERT_LT(expected, seen) __CHECK(expected, <, seen, true)
#define ASSERT_LE(expected, seen) __CHECK(expected, <=, seen, true)
#define ASSERT_GT(expected, seen) __CHECK(expected, >, seen, true)
#define ASSERT_GE(expected, seen) __CHECK(expected, >=, seen, true)
#define ASSERT_TRUE(seen) __CHECK(true, ==, !!(seen), true)
#define ASSERT_FALSE(seen) __CHECK(false, ==, !!(seen), true)
#define EXPECT_EQ(expected, seen) __CHECK(expected, ==, seen, false)
#define EXPECT_TRUE(seen) __CHECK(true, ==, !!(seen), false)

#define TEST(test)								\
	static void test(struct __test_metadata *);				\
	static const bool test##_added = add_test(#test, test);			\
	static void test([[maybe_unused]] struct __test_metadata *_metadata)

#define FIXTURE(fixture)							\
	struct fixture##_variant;						\
	static std::vector<std::pair<std::string, const fixture##_variant *>>	\
		fixture##_variants;						\
	struct fixture##_data

#define FIXTURE_VARIANT(fixture) struct fixture##_variant

#define FIXTURE_VARIANT_ADD(fixture, variant)					\
	extern const fixture##_variant fixture##_##variant;			\
	static const auto &fixture##_##variant##_entry =			\
		fixture##_variants.emplace_back("." #variant, &fixture##_##variant); \
	const fixture##_variant fixture##_##variant =

#define __FIXTURE_FN(fixture, fn)						\
	static void fixture##_##fn([[maybe_unused]] struct __test_metadata *_metadata, \
				   [[maybe_unused]] fixture##_data *self,	\
				   [[maybe_unused]] const fixture##_variant *variant)

#define FIXTURE_SETUP(fixture) __FIXTURE_FN(fixture, setup)
#define FIXTURE_TEARDOWN(fixture) __FIXTURE_FN(fixture, teardown)

#define TEST_F(fixture, test) TEST_F_TIMEOUT(fixture, test, 30)

/* Once for each variant there is so far, or without any. */
#define TEST_F_TIMEOUT(fixture, test, time_limit)				\
	__FIXTURE_FN(fixture, test);						\
	static const bool fixture##_##test##_added = [] {			\
		if (fixture##_variants.empty())					\
			fixture##_variants.emplace_back("", nullptr);		\
		for (const auto &[name, variant] : fixture##_variants)		\
			add_test(#fixture + name + "." #test,			\
				 [variant = variant](struct __test_metadata *_metadata) { \
				fixture##_data self = {};			\
										\
				fixture##_setup(_metadata, &self, variant);	\
				if (_metadata->verdict == T_EXIT_PASS)		\
					fixture##_##test(_metadata, &self, variant); \
				fixture##_teardown(_metadata, &self, variant);	\
			}, time_limit);						\
		return true;							\
	}();									\
	__FIXTURE_FN(fixture, test)

/* The verdict of a process that ran @test, or what came of it. */
inline int run(struct __test_metadata &test)
{
	const pid_t child = fork();
	int status;

	if (child == 0) {
		die_with_parent();
		alarm(test.time_limit);
		test.body(&test);
		_exit(test.verdict);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return T_EXIT_FAIL;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "%s: ended by signal %d\n", test.name.c_str(), WTERMSIG(status));
	return T_EXIT_FAIL;
}

inline int run_all()
{
	const struct rlimit no_core = {};
	int verdict = T_EXIT_SKIP;

	if (const char *why = cannot_test()) {
		fprintf(stderr, "%s\n", why);
		return T_EXIT_SKIP;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	for (struct __test_metadata &test : all_tests()) {
		const int result = run(test);

		if (result == T_EXIT_FAIL)
			return T_EXIT_FAIL;
		if (result == T_EXIT_PASS)
			verdict = T_EXIT_PASS;
	}
	return verdict;
}

/* liburing's runner names a device to tests that want one. */
#define TEST_HARNESS_MAIN							\
	int main(int argc, char **)						\
	{									\
		return argc > 1 ? T_EXIT_SKIP : run_all();			\
	}

#endif /* HARNESS_HPP */
