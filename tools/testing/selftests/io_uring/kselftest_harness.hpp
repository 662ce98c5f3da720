/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kselftest_harness.h, made to compile as C++.
 *
 * The harness is C: there void * converts to any other pointer, and designators nest.
 */
#ifndef KSELFTEST_HARNESS_HPP
#define KSELFTEST_HARNESS_HPP

/* What the harness' macros expand to is not the test's to answer for. */
#pragma GCC system_header
#ifdef __clang__
#pragma clang diagnostic ignored "-Wunused-parameter"
#if __has_warning("-Wmissing-designated-field-initializers")
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"
#else
#pragma clang diagnostic ignored "-Wmissing-field-initializers"
#endif
#endif

#include <concepts>

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A void * that converts to other pointers without a cast. */
struct ksft_pointer {
	void *p;

	template <typename T>
	operator T *() const { return static_cast<T *>(p); }
};

/*
 * The harness assigns what mmap(2) returns to pointers of other types, which C++ does not
 * convert.  It passes NULL and an int as the offset.  No other caller here does both, so
 * that only the harness gets this overload.
 */
template <std::same_as<int> T>
ksft_pointer mmap(decltype(NULL), size_t len, int prot, int flags, int fd, T off)
{
	return { mmap(static_cast<void *>(nullptr), len, prot, flags, fd,
		      static_cast<off_t>(off)) };
}

/*
 * Before v6.16 the harness designates .sa_sigaction, which libc has as a macro
 * for a member of a union.  Lend it a structure with a member of that name.
 */
static inline void ksft_set_handler(struct sigaction &sa,
				    void (*fn)(int, siginfo_t *, void *))
{
	sa.sa_sigaction = fn;
}

#pragma push_macro("sa_sigaction")
#undef sa_sigaction

struct ksft_sigaction {
	void (*sa_sigaction)(int, siginfo_t *, void *);
	int sa_flags;
	struct sigaction saved;
};

static inline int ksft_sigaction(int sig, const struct ksft_sigaction *act,
				 struct ksft_sigaction *old)
{
	struct sigaction sa = act->saved;

	if (act->sa_sigaction) {
		ksft_set_handler(sa, act->sa_sigaction);
		sa.sa_flags = act->sa_flags;
	}
	if (!old)
		return sigaction(sig, &sa, nullptr);
	old->sa_sigaction = nullptr;
	return sigaction(sig, &sa, &old->saved);
}

/* The harness ends by this.  What skipped all of its tests must not look as if it passed. */
#include "kselftest.h"
[[noreturn]] static inline void ksft_end(bool passed)
{
	if (!passed)
		ksft_exit_fail();
	if (ksft_cnt.ksft_xskip < ksft_test_num())
		ksft_exit_pass();
	ksft_print_cnts();
	exit(KSFT_SKIP);
}
#undef ksft_exit
#define ksft_exit(passed) ksft_end(passed)

#define sigaction ksft_sigaction
#include "kselftest_harness.h"
#undef sigaction
#pragma pop_macro("sa_sigaction")

#endif /* KSELFTEST_HARNESS_HPP */
