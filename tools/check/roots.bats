#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# README's first command on newer systems than this one.

load common

# The core, from a fresh clone, as far as that goes without git.
run_tests_in()
{
	need_root
	"$top/tools/archive/root" "$1" true || skip "no root of $1 can be made here"
	copy "$BATS_TEST_TMPDIR/copy"
	cd "$BATS_TEST_TMPDIR/copy"
	"$top/tools/archive/root" "$1" make run_tests KSRC="$("$top/tools/kselftest/fetch")" \
		TESTS="idle_exit_test rearm_test multi_ring_test ring_lifetime_test sqpoll_test" \
		USERCFLAGS="-Werror ${2-}"
	"$top/tools/archive/root" "$1" sh -c '. /etc/os-release
		echo "# $PRETTY_NAME: $(g++ --version | sed 1q)"' >&3
}

@test "roots: make run_tests on Debian 13" { run_tests_in trixie; }

@test "roots: make run_tests on Debian sid, in the newest C++" { run_tests_in sid -std=gnu++26; }
