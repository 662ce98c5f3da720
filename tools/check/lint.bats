#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Sanitizers, valgrind and linters.

load common

@test "lint: clang-format (but for the harness' macros, which are no C++ to it)" {
	cd "$source"
	# shellcheck disable=SC2046 # one word each
	clang-format --dry-run -Werror $(ls -- *.cpp *.hpp | grep -v -e _test -e harness -e promise)
}

@test "lint: clang-tidy" {
	cd "$source"
	clang-tidy --quiet deadline.cpp kernel.cpp peer.cpp ring.cpp workers.cpp -- \
		-std=gnu++20 -D_GNU_SOURCE
}

@test "lint: shellcheck" {
	cd "$top"
	shellcheck .ci/run tools/archive/archive tools/kselftest/borrow tools/kselftest/fetch \
		tools/kselftest/install-tree tools/measure/under-load tools/setup/setup \
		tools/testing/selftests/io_uring/not_built.sh
	shellcheck -s bash tools/check/*.bash
}

@test "lint: SPDX on the first or second line of every file of ours" {
	cd "$top"
	git ls-files -s | awk '$1 != 120000 { print $4 }' |
		grep -vx -e COPYING -e '.*/config' -e '.*/settings' -e '.*README.*' |
		while read -r file; do
			head -n 3 "$file" | grep -q SPDX-License-Identifier || { echo "$file"; exit 1; }
		done
}

@test "lint: each program and test file is under 300 lines, and listed" {
	cd "$source"
	wc -l -- *.cpp *.hpp | awk '$1 >= 300 && $2 != "total" && $2 !~ /harness|workers.cpp/ { print; bad = 1 } END { exit bad }'
	for file in *_test.cpp; do
		grep -qw "${file%.cpp}" Makefile
		grep -qw "${file%.cpp}" README
		grep -qx "${file%.cpp}" .gitignore
	done
}

@test "sanitizers: ASan and UBSan find nothing" {
	build_programs USERCFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" \
		USERLDFLAGS="-static-libasan"
	cd "$BATS_FILE_TMPDIR/bin"
	for program in $programs; do
		./"$program"
	done
}

@test "valgrind: finds nothing in the helpers" {
	# Valgrind may not know pidfd_open(), which new harnesses need and we do not.
	tree=$BATS_FILE_TMPDIR/oldest
	make_tree "$tree" "$(oldest_series)"
	selftests FORCE_TARGETS=1 all
	cd "$tree/tools/testing/selftests/io_uring"
	for program in idle_exit_test multi_ring_test; do
		KSFT_MACHINE_SLOW=yes valgrind -q --error-exitcode=99 --trace-children=yes \
			--child-silent-after-fork=no ./$program
	done
}
