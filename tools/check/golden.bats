#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Every verdict that a test can have, as KTAP by the newest harness.

load common
bats_require_minimum_version 1.5.0

golden=$BATS_TEST_DIRNAME/golden

@test "golden: KTAP of pass, fail, skip, all skipped and time-outs" {
	make_tree "$BATS_TEST_TMPDIR/tree"
	dir=$BATS_TEST_TMPDIR/tree/tools/testing/selftests
	mkdir "$dir/golden"
	# What main() needs, but for kernel.cpp.
	cp "$golden"/*_test.cpp "$golden/settings" "$source"/Makefile "$source"/*.hpp \
		"$source"/{child,deadline,environment,fd,proc}.cpp "$dir/golden"
	make -s -C "$dir" TARGETS=golden FORCE_TARGETS=1 all
	make -s -C "$dir" TARGETS=golden run_tests 2>&1 |
		sed 's/harness.hpp:[0-9]*/harness.hpp:N/; s/threads of [0-9]*/threads of N/
			s/#   [0-9]* verdicts_test .*/#   N verdicts_test/' >"$BATS_TEST_TMPDIR/ktap"
	diff -u "$golden/expected" "$BATS_TEST_TMPDIR/ktap"

	run -4 env GOLDEN_SKIP="kernel has no io_uring" "$dir/golden/verdicts_test"
	[ "$output" = "TAP version 13
1..0 # SKIP kernel has no io_uring" ]
	run -1 "$top/tools/kselftest/tally" <"$BATS_TEST_TMPDIR/ktap"
	[ "${lines[-1]}" = "2 passed, 7 failed, 3 skipped" ]
}
