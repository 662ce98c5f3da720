#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Every way that kselftest is driven, with the oldest and the newest harness.

load common

setup_file()
{
	load common
	make_tree "$BATS_FILE_TMPDIR/oldest" "$(oldest_series)"
	make_tree "$BATS_FILE_TMPDIR/newest"
}

# Each goal in turn, by the arguments of a way; the programs land in $1.
each_goal()
{
	local out=$1 age

	shift
	for age in oldest newest; do
		tree=$BATS_FILE_TMPDIR/$age
		touch "$tree/stamp"
		echo "== $age harness: $*"
		selftests FORCE_TARGETS=1 USERCFLAGS=-Werror "$@" all
		file "$tree/$out/io_uring/idle_exit_test" | grep ELF
		selftests TEST_GEN_PROGS="$tree/$out/io_uring/idle_exit_test" "$@" run_tests |
			tee "$BATS_TEST_TMPDIR/log"
		grep '^ok 1 selftests: io_uring: idle_exit_test' "$BATS_TEST_TMPDIR/log"
		selftests "$@" KSFT_INSTALL_PATH="$tree/installed" install
		[ -x "$tree/installed/io_uring/rearm_test" ]
		[ -f "$tree/installed/io_uring/settings" ]
		[ "$(grep -c ^io_uring: "$tree/installed/kselftest-list.txt")" -eq "$(wc -w <<<"$programs")" ]
		selftests "$@" KSFT_INSTALL_PATH="$tree/installed" gen_tar
		tar -tf "$tree/installed/kselftest-packages/kselftest.tar.gz" |
			grep io_uring/keepalive_test
		rm -r "$tree/installed"
		selftests "$@" clean
		assert_clean
	done
}

S=tools/testing/selftests

@test "build: in the tree" { MAKEFLAGS='' each_goal $S; }
@test "build: in the tree, in parallel" { MAKEFLAGS='' each_goal $S -j2; }
@test "build: O= absolute" { each_goal ../out/kselftest O="$BATS_FILE_TMPDIR/out"; }
@test "build: O= relative" { each_goal out/kselftest O=out; }
@test "build: LLVM=1" { each_goal $S LLVM=1; }
@test "build: static" { each_goal $S USERLDFLAGS=-static; }

@test "build: KBUILD_OUTPUT" {
	export KBUILD_OUTPUT="$BATS_FILE_TMPDIR/kbuild"
	each_goal ../kbuild/kselftest
}

@test "build: LLVM=-version and LLVM=/directory/" {
	tree=$BATS_FILE_TMPDIR/newest
	clang=$(realpath "$(command -v clang)")
	selftests FORCE_TARGETS=1 LLVM="${clang%/*}/" all
	selftests clean
	version=$(clang -dumpversion)
	selftests FORCE_TARGETS=1 LLVM=-"${version%%.*}" all
	selftests clean
}

@test "build: in the target's own directory, with and without OUTPUT=" {
	for age in oldest newest; do
		dir=$BATS_FILE_TMPDIR/$age/$S/io_uring
		make -C "$dir" FORCE_TARGETS=1 all
		[ -x "$dir/idle_exit_test" ]
		make -C "$dir" clean
		mkdir -p "$BATS_TEST_TMPDIR/$age"
		make -C "$dir" FORCE_TARGETS=1 OUTPUT="$BATS_TEST_TMPDIR/$age" all
		[ -x "$BATS_TEST_TMPDIR/$age/idle_exit_test" ]
		make -C "$dir" OUTPUT="$BATS_TEST_TMPDIR/$age" clean
		[ -z "$(ls "$BATS_TEST_TMPDIR/$age")" ]
	done
}

@test "build: no built-in rules, out of the tree, as the kernel's make does" {
	tree=$BATS_FILE_TMPDIR/newest
	make -rR -C "$tree/$S" TARGETS=io_uring O="$BATS_TEST_TMPDIR" FORCE_TARGETS=1 \
		building_out_of_srctree=1 all
	[ -x "$BATS_TEST_TMPDIR/kselftest/io_uring/idle_exit_test" ]
}

@test "build: one program, named without its directory" {
	tree=$BATS_FILE_TMPDIR/newest
	for _ in built found; do
		selftests FORCE_TARGETS=1 TEST_PROGS= TEST_GEN_PROGS=idle_exit_test run_tests |
			grep '^ok 1 selftests: io_uring: idle_exit_test$'
	done
	selftests clean
}

@test "build: an edited header rebuilds what includes it, and only then" {
	tree=$BATS_FILE_TMPDIR/newest
	selftests FORCE_TARGETS=1 all
	run selftests FORCE_TARGETS=1 all
	[[ $output != *CXX* ]]
	touch "$tree/$S/io_uring/ring.hpp"
	run selftests FORCE_TARGETS=1 all
	[[ $output == *rearm_test* ]]
	selftests clean
}

# Without a compiler or library the other targets must go on.
stand_ins()
{
	tree=$BATS_FILE_TMPDIR/newest
	selftests "$@" all
	run -4 "$tree/$S/io_uring/rearm_test"
	[[ $output == *"1..0 # SKIP not built"* ]]
	selftests "$@" run_tests | grep '^ok [0-9]* selftests: io_uring: idle_exit_test # SKIP'
	run ! selftests "$@" FORCE_TARGETS=1 clean all
	selftests "$@" clean
}

bats_require_minimum_version 1.5.0

@test "build: stand-ins without a C++ compiler" { stand_ins CXX=/nonexistent/g++; }

@test "build: stand-ins without liburing" {
	stand_ins USERCFLAGS="-DLIB_URING_H" LDLIBS=
}

@test "build: stand-ins for an architecture without liburing" {
	stand_ins CROSS_COMPILE=nonexistent-linux-gnu-
}

@test "build: the newest liburing of the archive, g++ and clang++" {
	cd "$BATS_TEST_TMPDIR"
	for name in liburing-dev liburing2 linux-libc-dev; do
		newest=$("$top/tools/archive/archive" list "^$name\$" | tail -n 1)
		"$top/tools/archive/archive" get "${newest/ /=}"
		dpkg-deb -x ${name}_*.deb root
	done
	echo "liburing $newest"
	tree=$BATS_FILE_TMPDIR/newest
	lib=$(dirname "$(find "$PWD/root" -name liburing.a)")
	for llvm in "" 1; do
		selftests LLVM=$llvm FORCE_TARGETS=1 USERCFLAGS="-Werror -isystem $PWD/root/usr/include" \
			USERLDFLAGS="-static -L$lib" all
		"$tree/$S/io_uring/idle_exit_test"
		selftests clean
	done
}

@test "install-tree: the line in its sorted place, once; bad input is named" {
	tree=$BATS_FILE_TMPDIR/newest
	grep -x -B1 -A1 'TARGETS += io_uring' "$tree/$S/Makefile" | grep -v io_uring |
		sort -c
	before=$(find "$tree/$S" -type f -exec md5sum {} + | sort)
	make -s -C "$top" install-tree KSRC="$tree"
	[ "$before" = "$(find "$tree/$S" -type f -exec md5sum {} + | sort)" ]
	run -2 "$top/tools/kselftest/install-tree" "$BATS_TEST_TMPDIR"
	[[ $output == *"is no kernel tree"* ]]
	run ! make -C "$top/$S" KSRC="$BATS_TEST_TMPDIR" all
	[[ $output == *"is no kernel tree"* ]]
}

@test "dependencies: kselftest_deps.sh finds liburing" {
	tree=$BATS_FILE_TMPDIR/newest
	cd "$tree/$S"
	bash ./kselftest_deps.sh gcc io_uring
	grep -q '^LDLIBS += -luring' io_uring/Makefile
}
