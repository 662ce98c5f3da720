# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the checks share; each file's scratch is $BATS_FILE_TMPDIR.

top=$(realpath "$BATS_TEST_DIRNAME/../..")
# shellcheck disable=SC2034 # of use to those who load this
source=$top/tools/testing/selftests/io_uring
programs="idle_exit_test keepalive_test multi_ring_test rearm_test"
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
unset MAKEFLAGS MAKELEVEL MFLAGS KSFT_MACHINE_SLOW KSFT_REQUIRE_EXIT_ON_IDLE

# The series of the oldest kernel source to be had.
oldest_series()
{
	"$top/tools/archive/archive" list '^linux-source-[0-9.]+$' |
		sed -n '1s/^linux-source-\([0-9.]*\).*/\1/p'
}

# A kernel tree, as far as kselftest is concerned, with the selftest in it.
make_tree()
{
	cp -r "$("$top/tools/kselftest/fetch" "${2-}")" "$1"
	make -s -C "$top" install-tree KSRC="$1" >/dev/null
}

selftests()
{
	make -C "$tree/tools/testing/selftests" TARGETS=io_uring "$@"
}

# Nothing but what was there before the build.
assert_clean()
{
	local left

	left=$(find "$tree/tools/testing/selftests/io_uring" "$@" -type f -newer "$tree/stamp")
	[ -z "$left" ] || { echo "left behind: $left"; false; }
}

# The programs, built as make run_tests builds them, in $BATS_FILE_TMPDIR/bin.
build_programs()
{
	make_tree "$BATS_FILE_TMPDIR/tree"
	tree=$BATS_FILE_TMPDIR/tree
	selftests FORCE_TARGETS=1 "$@" all
	mkdir "$BATS_FILE_TMPDIR/bin"
	for program in $programs; do
		mv "$tree/tools/testing/selftests/io_uring/$program" "$BATS_FILE_TMPDIR/bin"
	done
	chmod -R a+rX "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR"
}

need_root()
{
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

as_nobody()
{
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
