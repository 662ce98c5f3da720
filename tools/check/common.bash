# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the checks share; each file's scratch is $BATS_FILE_TMPDIR.

top=$(realpath "$BATS_TEST_DIRNAME/../..")
source=$top/tools/testing/selftests/io_uring
programs=$(cd "$source" && printf '%s ' *_test.cpp | sed 's/\.cpp//g')
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
# Those that pass, wherever CRIU is missing and whatever known bug this kernel has.
steady=$programs
for program in criu_test $(PYTHONPATH=$top/tools/kernels python3 -c '
import judge, platform
print(*judge.unsteady(judge.release(" ".join(platform.uname()[2:5]))))'); do
	steady=${steady/$program/}
done
# The same files are built in many ways, and in many a scratch directory.
export PATH=/usr/lib/ccache:$PATH CCACHE_BASEDIR=/ CCACHE_NOHASHDIR=1
# What a developer of kernels has in the environment must not choose how these are built.
unset MAKELEVEL MFLAGS KSFT_MACHINE_SLOW KSFT_REQUIRE_EXIT_ON_IDLE
unset ARCH SUBARCH CROSS_COMPILE LLVM CC CXX LD O OUTPUT KBUILD_OUTPUT
MAKEFLAGS=-j$(nproc)
export MAKEFLAGS

# The names of the project's files, in a tarball and in somebody else's checkout, too, in
# which git would do nothing.
ours()
{
	git init -q --bare "$BATS_TEST_TMPDIR/no.git"
	git -C "$top" --git-dir="$BATS_TEST_TMPDIR/no.git" --work-tree=. ls-files --others \
		--exclude-per-directory=.gitignore "$@"
}

# A copy of them, with no git in it.
copy()
{
	mkdir -p "$1"
	ours -z | tar -C "$top" -c --null -T - | tar -x -C "$1"
}

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
	[ -e "$BATS_FILE_TMPDIR/tree" ] || make_tree "$BATS_FILE_TMPDIR/tree"
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

# A log of one program with one test and its verdict.
log_of()
{
	cat <<-END
	TAP version 13
	1..1
	# timeout set to 300
	# selftests: io_uring: $1
	# TAP version 13
	# 1..1
	# # why it is so
	# $2 1 global.claim${3:+ # SKIP $3}
	$2 1 selftests: io_uring: $1
	END
}
