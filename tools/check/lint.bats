#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Sanitizers, valgrind and linters.

load common
bats_require_minimum_version 1.5.0

@test "lint: clang-format (but for the harness' macros, which are no C++ to it)" {
	cd "$source"
	# shellcheck disable=SC2046 # one word each
	clang-format --dry-run -Werror $(ls -- *.cpp *.hpp | grep -v -e _test -e harness -e promise -e limited -e observer)
}

@test "lint: clang-tidy" {
	cd "$source"
	ls -- *.cpp | grep -v _test |
		xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- -std=gnu++20 -D_GNU_SOURCE
}

@test "lint: shellcheck" {
	cd "$top"
	ours -z | xargs -0 grep -lZ '^#!/bin/sh' | xargs -0 shellcheck
	shellcheck -s bash tools/check/*.bash
}

@test "lint: pyflakes" {
	cd "$top"
	{ ours -z | xargs -0 grep -lZ '^#!.*python3' && ours -z '*.py'; } | xargs -0 pyflakes3
}

@test "lint: SPDX on the first or second line of every file of ours" {
	cd "$top"
	ours | grep -vx -e COPYING -e '.*\.json' -e 'LICENSES/.*' -e '.*/golden/expected' -e '\(.*/\)*config' -e '\(.*/\)*settings' -e '.*README.*' |
		while read -r file; do
			head -n 3 "$file" | grep -q SPDX-License-Identifier || { echo "$file"; exit 1; }
		done
}

@test "lint: each program and test file is under 250 lines, and in README" {
	cd "$source"
	wc -l -- *.cpp *.hpp | awk '$1 >= 250 && $2 != "total" { print; bad = 1 } END { exit bad }'
	for file in *_test.cpp; do
		grep -qw "${file%.cpp}" README
	done
}

@test "lint: what an assertion says besides stands on its line, or in braces" {
	cd "$source"
	run ! grep -Pzo '\t(ASSERT|EXPECT)_\w+\([^;{]*\)\n\t+TH_LOG' ./*.cpp ./*.hpp
}

@test "lint: processes are made and awaited by class Process, which sees to their end" {
	cd "$source"
	# shellcheck disable=SC2046 # one word each
	run ! grep -nE '(^|[^_[:alnum:]])(v?fork|popen|system|waitpid)\(([^0-9]|$)' \
		$(ls -- *.cpp *.hpp | grep -vx -e child.cpp -e criu.cpp)
}

@test "sanitizers: ASan and UBSan find nothing" {
	build_programs USERCFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" \
		USERLDFLAGS="-static-libasan"
	cd "$BATS_FILE_TMPDIR/bin"
	# One test wants the core dump of a SIGSEGV.
	for program in $steady; do
		ASAN_OPTIONS=handle_segv=0 ./"$program"
	done
}

@test "valgrind: finds nothing in the helpers" {
	# The newest: before 3.22 it knows no pidfd_open(), and all would be skipped.
	newest=$("$top/tools/archive/archive" list '^valgrind$' | tail -n 1)
	(cd "$BATS_TEST_TMPDIR" && "$top/tools/archive/archive" get "${newest/ /=}")
	dpkg-deb -x "$BATS_TEST_TMPDIR"/valgrind_*.deb "$BATS_TEST_TMPDIR"
	tree=$BATS_TEST_TMPDIR/tree
	make_tree "$tree"
	selftests FORCE_TARGETS=1 all
	cd "$tree/tools/testing/selftests/io_uring"
	# What calls_forbidden() asks wrongly, on purpose.
	for argument in 'capset(data)' 'capset(header)' 'clock_nanosleep(rmtp)' \
		'clock_nanosleep(rqtp)' 'epoll_wait(events)' 'getdents64(dirp)' \
		'pipe2(filedes)' 'readlink(buf)' 'readlink(path)' 'rlimit64(new_rlim)' \
		'rlimit64(old_rlim)' 'rt_sigaction(act->sa_flags)' \
		'rt_sigaction(act->sa_handler)' 'rt_sigaction(act->sa_mask)' \
		'rt_sigaction(oldact)' 'sched_getaffinity(mask)' 'waitid(infop)' \
		'waitid(ru)'; do
		printf '%s\n' '{' asked_wrongly Memcheck:Param "$argument" fun:syscall \
			'...' 'fun:*shed_inheritance*' '...' '}'
	done >"$BATS_TEST_TMPDIR/suppressions"
	for program in idle_exit_test multi_ring_test; do
		KSFT_MACHINE_SLOW=yes VALGRIND_LIB=$BATS_TEST_TMPDIR/usr/libexec/valgrind \
			"$BATS_TEST_TMPDIR/usr/bin/valgrind" -q --error-exitcode=99 \
			--suppressions="$BATS_TEST_TMPDIR/suppressions" \
			--trace-children=yes --child-silent-after-fork=no ./$program
	done
}
