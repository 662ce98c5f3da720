#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The core tests with every liburing that is to be had, and as those behave that are not.

load common

core="idle_exit_test rearm_test multi_ring_test ring_lifetime_test fdless_ring_test sqpoll_test"

setup_file()
{
	load common
	make_tree "$BATS_FILE_TMPDIR/tree"
}

core_passes()
{
	tree=$BATS_FILE_TMPDIR/tree
	selftests FORCE_TARGETS=1 TEST_GEN_PROGS="$core" "$@" all
	for program in $core; do
		# All skipped, where the kernel has no promise.
		"$tree/tools/testing/selftests/io_uring/$program" || [ $? -eq 4 ]
	done
	selftests clean
}

@test "liburing: each version of the archive, g++ and clang++" {
	cd "$BATS_TEST_TMPDIR"
	headers=$("$top/tools/archive/archive" list '^linux-libc-dev$' | tail -n 1)
	"$top/tools/archive/archive" get "${headers/ /=}"
	dpkg-deb -x linux-libc-dev_*.deb headers
	for version in $("$top/tools/archive/archive" list '^liburing-dev$' | cut -d' ' -f2); do
		"$top/tools/archive/archive" get liburing-dev="$version"
		dpkg-deb -x liburing-dev_"$version"_*.deb "$version"
		lib=$(dirname "$PWD/$version"/usr/lib/*/liburing.a)
		for llvm in "" 1; do
			core_passes LLVM=$llvm USERLDFLAGS="-L$lib" USERCFLAGS="-Werror \
				-isystem $PWD/$version/usr/include -isystem $PWD/headers/usr/include"
		done
		echo "# liburing $version: g++ and clang++" >&3
	done
}

@test "liburing: one that does with rings what 2.5 to 2.14 do" {
	old=$BATS_TEST_TMPDIR/old_liburing.o
	cc -c "$top/tools/check/old_liburing.c" -o "$old"
	core_passes USERLDFLAGS="-Wl,--wrap=io_uring_queue_mmap,--wrap=io_uring_queue_exit $old"
}
