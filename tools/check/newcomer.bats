#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What somebody meets who has just got the project: what is missing, and where it lies.

load common
bats_require_minimum_version 1.5.0

# A machine with nothing but a shell and the commands given, which do nothing.
bare_machine()
{
	bin=$BATS_TEST_TMPDIR/bin
	mkdir -p "$bin"
	for command in sh awk dirname grep id realpath; do
		ln -s "$(command -v $command)" "$bin"
	done
	for command; do
		printf '#!/bin/sh\n' >"$bin/$command"
		chmod +x "$bin/$command"
	done
}

@test "newcomer: setup names the one command of each distribution" {
	bare_machine make
	asked="g++ liburing-dev make perl python3 pkg-config rsync xz-utils"
	while read -r manager expected; do
		printf '#!/bin/sh\n' >"$bin/$manager"
		chmod +x "$bin/$manager"
		# shellcheck disable=SC2086 # one word each
		run -2 env PATH="$bin" "$top/tools/setup/setup" $asked
		[ "$output" = "setup: packages are missing; please run as root: $manager $expected" ]
		rm "$bin/$manager"
	done <<-END
	dnf install gcc-c++ liburing-devel perl-interpreter python3 pkgconf-pkg-config rsync xz
	pacman -S --needed gcc liburing perl python pkgconf rsync xz
	zypper install gcc-c++ liburing-devel perl python3 pkg-config rsync xz
	apk add g++ liburing-dev perl python3 pkgconf rsync xz
	END
	run -2 env PATH="$bin" "$top/tools/setup/setup" cpio
	[ "$output" = "setup: no package manager is known here; needed is what Debian calls cpio" ]
}

@test "newcomer: a user of Debian is told the one command for root" {
	need_root
	run -2 as_nobody "$top/tools/setup/setup" make no-such-package
	[ "$output" = "setup: packages are missing; please run as root: apt-get update && apt-get install -y --no-install-recommends no-such-package" ]
}

@test "newcomer: no package is needed of what is there already" {
	bare_machine make perl
	run -0 env PATH="$bin" "$top/tools/setup/setup" make perl
	[ -z "$output" ]
}

@test "newcomer: a place for downloads that cannot be is named in one line" {
	run -2 env -u HOME -u XDG_CACHE_HOME "$top/tools/kselftest/fetch"
	[ "$output" = "cache: HOME is not set: name a place for downloads, XDG_CACHE_HOME=/path" ]
	run -2 env XDG_CACHE_HOME=here "$top/tools/kselftest/fetch"
	[[ $output == "cache: here is no absolute path: "* ]]
	run -2 env XDG_CACHE_HOME=/proc "$top/tools/kselftest/fetch"
	[[ $output == "cache: /proc/io_uring-selftest cannot be written to: "* ]]
}

# A copy of what git has of this project, with no git in it.
copy()
{
	mkdir -p "$1"
	git -C "$top" ls-files -z | (cd "$top" && xargs -0 tar -c) | tar -x -C "$1"
}

@test "newcomer: without git, HOME or network, by a relative KSRC; clean leaves nothing" {
	copy "$BATS_TEST_TMPDIR/copy"
	make_tree "$BATS_TEST_TMPDIR/linux"
	cd "$BATS_TEST_TMPDIR/copy"
	find . | sort >../before
	run -0 env -u HOME -u XDG_CACHE_HOME make run_tests TESTS=fork_test KSRC=../linux
	[ "${lines[-1]}" = "5 passed, 0 failed, 0 skipped" ]
	make clean
	find . | sort | diff ../before -
}

@test "newcomer: a path with a space or a colon is refused by name" {
	for name in "a b" a:b; do
		copy "$BATS_TEST_TMPDIR/$name"
		run ! make -C "$BATS_TEST_TMPDIR/$name" run_tests
		[[ $output == *"source directory cannot contain spaces or colons"* ]]
	done
}
