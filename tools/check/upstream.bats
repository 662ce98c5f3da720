#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What goes to other trees: the series for the kernel, the tests for liburing.

load common
bats_require_minimum_version 1.5.0

S=tools/testing/selftests

setup_file()
{
	load common
	export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0="A Tester"
	export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=tester@example.org
}

# A kernel tree, as far as kselftest is concerned, under git.
make_git()
{
	cp -r "$("$top/tools/kselftest/fetch" "${2-}")" "$1"
	git -C "$1" init -q
	git -C "$1" add -A
	git -C "$1" commit -q -m base
}

@test "patch: each step builds; then the tree has all, and the literal command works" {
	tree=$BATS_TEST_TMPDIR/tree
	make_git "$tree"
	"$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches"
	programs_so_far=0
	for patch in "$BATS_TEST_TMPDIR"/patches/*-selftests-*.patch; do
		git -C "$tree" am -q "$patch"
		selftests FORCE_TARGETS=1 USERCFLAGS=-Werror all
		[[ $patch != *_test.patch ]] || programs_so_far=$((programs_so_far + 1))
		[ "$(find "$tree/$S/io_uring" -name '*_test' | wc -l)" -eq $programs_so_far ]
		[ -z "$(git -C "$tree" status --short)" ]
	done
	[ "$programs_so_far" -eq "$(wc -w <<<"$programs")" ]
	run_tests="make -C $S TARGETS=io_uring TEST_GEN_PROGS=$tree/$S/io_uring/idle_exit_test run_tests"
	(cd "$tree" && $run_tests) | grep '^ok 1 selftests: io_uring: idle_exit_test$'
	selftests clean

	git -C "$top" ls-files $S/io_uring | while read -r file; do
		diff "$top/$file" "$tree/$file"
	done
	grep -x -B1 -A1 'TARGETS += io_uring' "$tree/$S/Makefile" | sort -c
	sed -n '/^IO_URING$/,/^$/s/^F://p' "$tree/MAINTAINERS" | grep -x "	$S/io_uring/"
	git -C "$tree" log -1 --format=%b | grep '^Signed-off-by: A Tester <tester@example.org>$'
}

@test "patch: applies to the oldest tree when made against it" {
	tree=$BATS_TEST_TMPDIR/tree
	make_git "$tree" "$(oldest_series)"
	"$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	git -C "$tree" am -q "$BATS_TEST_TMPDIR"/patches/*-selftests-*.patch
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"has $S/io_uring already" ]]
}

@test "patch: checkpatch --strict has only remarks that the cover letter answers" {
	cd "$BATS_TEST_TMPDIR"
	"$top/tools/upstream/patch" patches
	checkpatch=$("$top/tools/kselftest/fetch")/scripts/checkpatch.pl
	perl "$checkpatch" --strict --no-tree --terse --show-types patches/*-selftests-*.patch |
		sed -n 's/.*: \(ERROR\|WARNING\|CHECK\):\([A-Z_]*\):.*/\2/p' | sort -u >remarks
	cat remarks
	while read -r remark; do
		grep "^- $remark: " patches/0000-*
	done <remarks
}

@test "patch: bad input is named" {
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" /nonexistent
	[ "$output" = "patch: /nonexistent is no kernel tree: it has no MAINTAINERS" ]
	tree=$BATS_TEST_TMPDIR/tree
	cp -r "$("$top/tools/kselftest/fetch")" "$tree"
	sed -i 's/^IO_URING$/ANOTHER/' "$tree/MAINTAINERS"
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"MAINTAINERS has no entry IO_URING" ]]
	GIT_CONFIG_COUNT=0 HOME=/nonexistent run -2 "$top/tools/upstream/patch" \
		"$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"git config needs user.name" ]]
}

@test "liburing: the tests pass there, and put there again change nothing" {
	cd "$BATS_TEST_TMPDIR"
	"$top/tools/archive/archive" source liburing
	cd liburing-*/
	cp test/Makefile Makefile.before
	"$top/tools/upstream/liburing-test" "$PWD"
	find test -type f -exec md5sum {} + | sort >before
	"$top/tools/upstream/liburing-test" "$PWD"
	find test -type f -exec md5sum {} + | sort | diff before -
	[ "$(diff Makefile.before test/Makefile | grep -c '^[<>]')" -eq 1 ]
	! head -qn1 test/io-wq-*.cc test/io-wq/* | grep -v 'SPDX-License-Identifier: MIT'

	tests=$(cd test && printf '%s ' io-wq-*.cc | sed 's/\.cc/.t/g')
	[ "$(wc -w <<<"$tests")" -ge 3 ]
	./configure >/dev/null
	make -s -C src
	make -C test CXXFLAGS="-O2 -Wall -Wextra -Werror" $tests
	make -C test runtests test_targets="${tests/io-wq-rearm-race.t/}" | tee "$BATS_TEST_TMPDIR/log"
	[ "$(grep -c '^Running test io-wq-.* sec' "$BATS_TEST_TMPDIR/log")" -eq \
		$(($(wc -w <<<"$tests") - 1)) ]
	# A kernel known to lose the race may fail here: see what judge has to say.
	run make -C test runtests test_targets=io-wq-rearm-race.t
	log_of rearm_race_test "$([ "$status" -eq 0 ] && echo ok || echo not ok)" |
		"$top/tools/kernels/judge"
	run -77 test/io-wq-idle-exit.t /dev/null
	run -77 "$BATS_TEST_DIRNAME/without_io_uring" ENOSYS test/io-wq-idle-exit.t
	[ "$output" = "kernel has no io_uring (CONFIG_IO_URING)" ]
	make -s -C test clean
	[ -z "$(find test/io-wq -name '*.o')" ]

	# Verdicts, by the programs of golden.bats.
	golden() {
		g++ -std=gnu++20 -Itest -Itest/io-wq -Isrc/include \
			"$BATS_TEST_DIRNAME/golden/$1.cpp" -o "$1"
	}
	golden verdicts_test
	run -1 ./verdicts_test
	[[ $output == *"Expected 0 (0) == 1 (1)"*"open: Bad file descriptor"* ]]
	[[ $output != *"for information"* ]]
	golden all_skip_test
	run -77 ./all_skip_test
}

@test "liburing: without C++20 its own tests are built as ever" {
	mkdir "$BATS_TEST_TMPDIR/src"
	cd "$BATS_TEST_TMPDIR/src"
	"$top/tools/archive/archive" source liburing
	cd liburing-*/
	"$top/tools/upstream/liburing-test" "$PWD"
	./configure >/dev/null
	make -n -C test all >"$BATS_TEST_TMPDIR/with"
	grep -q 'io-wq-idle-exit\.t' "$BATS_TEST_TMPDIR/with"
	make -n -C test all CXX="g++ -include nonexistent.h" >"$BATS_TEST_TMPDIR/without"
	run ! grep 'io-wq-idle-exit\.t' "$BATS_TEST_TMPDIR/without"
	grep -q 'io-wq-unused-exit\.t' "$BATS_TEST_TMPDIR/without"
}

@test "liburing: bad input is named" {
	run -2 "$top/tools/upstream/liburing-test" "$BATS_TEST_TMPDIR"
	[[ $output == *"is no liburing tree"* ]]
}
