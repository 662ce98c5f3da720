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
	# The checkout may be root's alone.
	cp -r "$top/tools/setup" "$BATS_TEST_TMPDIR"
	chmod -R a+rX "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR"
	run -2 as_nobody "$BATS_TEST_TMPDIR/setup/setup" make no-such-package
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

# Runs one program in the directory $1.
works()
{
	run -0 make --no-print-directory -C "$1" run_tests TESTS=fork_test
	[ "${lines[-1]}" = "5 passed, 0 failed, 0 skipped" ]
}

@test "newcomer: in a shallow clone, with umask 077, in somebody else's checkout" {
	umask 077
	copy "$BATS_TEST_TMPDIR/copy"
	cd "$BATS_TEST_TMPDIR/copy"
	git init -q
	git add .
	git -c user.name=A -c user.email=a@example.org commit -q -m files
	git clone -q --depth 1 "file://$PWD" ../shallow
	works ../shallow
	need_root
	chown -R 65534 ../shallow
	works ../shallow
	run -0 bats -f SPDX ../shallow/tools/check/lint.bats
}

@test "newcomer: where nothing can be written, or too little, one line says so" {
	need_root
	copy "$BATS_TEST_TMPDIR/copy"
	cd "$BATS_TEST_TMPDIR/copy"
	chmod -R a+rX "$BATS_RUN_TMPDIR"
	run -2 as_nobody make run_tests
	[[ $output == *"$PWD cannot be written to: copy it to where it can"* ]]
	# shellcheck disable=SC2016 # variables of that shell
	run -2 unshare --mount sh -c '
		export XDG_CACHE_HOME=$PWD/build
		mkdir build
		mount -t tmpfs -o size=20m none build
		make run_tests TESTS=fork_test'
	[[ $output == *"too little disk: $PWD/build/io_uring-selftest/apt has 20 MB left, and needs 500"* ]]
	# shellcheck disable=SC2016 # variables of that shell
	run -2 unshare --mount sh -c '
		mount -t tmpfs -o size=20m none build
		cp -r Makefile tools build
		make -C build run_tests TESTS=fork_test'
	[[ $output == *"too little disk: $PWD/build/tools/testing/selftests has "*" MB left, and needs 200"* ]]
}
