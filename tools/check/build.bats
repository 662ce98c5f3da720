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
		selftests "$@" KSFT_INSTALL_PATH="$tree/installed" FORMAT= gen_tar
		tar -tf "$tree/installed/kselftest-packages/kselftest.tar" |
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

@test "build: one program, named without its directory, out of the tree" {
	tree=$BATS_FILE_TMPDIR/newest
	selftests FORCE_TARGETS=1 O="$BATS_TEST_TMPDIR/out" TEST_GEN_PROGS=idle_exit_test run_tests |
		grep '^ok 1 selftests: io_uring: idle_exit_test$'
}

@test "build: pkg-config is asked once" {
	tree=$BATS_FILE_TMPDIR/newest
	printf '#!/bin/sh\necho once >>%s\n' "$BATS_TEST_TMPDIR/asked" >"$BATS_TEST_TMPDIR/pkg-config"
	chmod +x "$BATS_TEST_TMPDIR/pkg-config"
	make -C "$tree/$S/io_uring" PKG_CONFIG="$BATS_TEST_TMPDIR/pkg-config" FORCE_TARGETS=1 all
	[ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" -eq 1 ]
	selftests clean
}

# The libraries that a program is linked with at run time.
needed()
{
	readelf -d "$tree/$S/io_uring/$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

@test "build: programs need no library but those of libc, and run where there are no others" {
	tree=$BATS_FILE_TMPDIR/newest
	for llvm in "" 1; do
		selftests LLVM=$llvm FORCE_TARGETS=1 all
		for program in $programs; do
			run ! grep -v -e '^libc\.' -e '^libm\.' -e '^ld-linux' <(needed "$program")
		done
		if [ "$(id -u)" -eq 0 ]; then
			root=$BATS_TEST_TMPDIR/root$llvm
			mkdir -p "$root/proc" "$root/dev"
			ldd "$tree/$S/io_uring/idle_exit_test" | grep -o '/[^ ]*' |
				xargs -I{} cp -L --parents {} "$root"
			cp "$tree/$S/io_uring/idle_exit_test" "$root"
			unshare -m sh -ec "cd '$root'; mount --rbind /proc proc; mount --rbind /dev dev
				exec chroot . /idle_exit_test"
		fi
		selftests clean
	done
}

@test "build: libraries that have no archive are linked as they are" {
	tree=$BATS_FILE_TMPDIR/newest
	cd "$BATS_TEST_TMPDIR"
	for libs in uring stdc++ "uring stdc++"; do
		rm -f ./lib*
		for lib in $libs; do
			ln -s "$(g++ -print-file-name="lib$lib.so")" .
			echo "no archive" >"lib$lib.a"
		done
		selftests FORCE_TARGETS=1 USERLDFLAGS="-L$PWD" TEST_GEN_PROGS=idle_exit_test all
		for lib in $libs; do
			needed idle_exit_test | grep -F "lib$lib.so."
		done
		"$tree/$S/io_uring/idle_exit_test"
		selftests clean
	done
}

# Without a compiler or library the other targets must go on; why is said once.
stand_ins()
{
	local needs=$1

	shift
	tree=$BATS_FILE_TMPDIR/newest
	touch "$tree/stamp"
	run -0 selftests "$@" all
	[ "$(grep -c SKIP <<<"$output")" -eq 1 ]
	[[ $output == *"SKIP     io_uring, which needs $needs"* ]]
	run -4 "$tree/$S/io_uring/rearm_test"
	[[ $output == *"1..0 # SKIP not built"* ]]
	selftests "$@" run_tests | grep '^ok [0-9]* selftests: io_uring: idle_exit_test # SKIP'
	run ! selftests "$@" FORCE_TARGETS=1 clean all
	selftests "$@" clean
	assert_clean
}

bats_require_minimum_version 1.5.0
cxx20="a compiler and library for C++20"

@test "build: stand-ins without a C++ compiler" { stand_ins "$cxx20" CXX=/nonexistent/g++; }

@test "build: stand-ins without liburing" {
	stand_ins "liburing 2.3" USERCFLAGS="-DLIB_URING_H" LDLIBS=
}

@test "build: stand-ins for an architecture without liburing" {
	stand_ins "$cxx20" CROSS_COMPILE=nonexistent-linux-gnu-
}

@test "build: stand-ins where the library has not all of C++20 that is used" {
	new='barrier|bit|compare|concepts|coroutine|format|latch|numbers|ranges|semaphore|'
	new+='source_location|span|stop_token|syncstream|version'
	for header in $(grep -Eoh "^#include <($new)>" "$source"/*.?pp | grep -o '[a-z_]*>' | sort -u); do
		dir=$BATS_TEST_TMPDIR/without-${header%>}
		mkdir "$dir"
		echo "#error no <$header" >"$dir/${header%>}"
		stand_ins "$cxx20" USERCFLAGS="-isystem $dir"
	done
	# LLVM's library has jthread since 20.
	libcxx=-stdlib=libc++
	jthread='int main() { std::jthread([] {}); }'
	if clang++ -std=c++20 $libcxx -include thread -fsyntax-only -x c++ - <<<"$jthread"; then
		selftests LLVM=1 FORCE_TARGETS=1 USERCFLAGS=$libcxx USERLDFLAGS=$libcxx all clean
	else
		stand_ins "$cxx20" LLVM=1 USERCFLAGS=$libcxx USERLDFLAGS=$libcxx
	fi
}

@test "build: objects are removed even if nothing can be built any more" {
	tree=$BATS_FILE_TMPDIR/newest
	selftests FORCE_TARGETS=1 clean
	touch "$tree/stamp"
	selftests FORCE_TARGETS=1 all
	selftests CXX=/nonexistent/g++ clean
	assert_clean
}

@test "config: sorted, and all that README names" {
	cd "$source"
	LC_ALL=C sort -c config
	run ! grep -v '^CONFIG_[A-Z0-9_]*=y$' config
	# A choice has no fragment.
	for option in $(grep -o 'CONFIG_[A-Z0-9_]*' README | grep -vx CONFIG_PREEMPTION); do
		grep -x "$option=y" config
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
