#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# criu_test: with the real CRIU, without, and with one that hangs.

load programs
bats_require_minimum_version 1.5.0

# A command in CRIU's place, which at dump runs $1.
make_criu()
{
	cat >"$BATS_TEST_TMPDIR/criu" <<-END
		#!/bin/sh
		[ "\$1" = dump ] || exit 0
		$1
	END
	chmod +x "$BATS_TEST_TMPDIR/criu"
	export CRIU=$BATS_TEST_TMPDIR/criu
}

skips()
{
	run -4 "${@:2}"
	[[ $output == *"TAP version 13"*"1..0 # SKIP $1" ]]
}

@test "criu: not root" {
	need_root
	skips "needs root's privilege" as_nobody ./criu_test
}

@test "criu: not installed" {
	need_root
	skips "criu is not installed" env CRIU=/nonexistent/criu ./criu_test
	skips "criu is not installed" env -u CRIU PATH=/nonexistent ./criu_test
}

@test "criu: fails with any process" {
	need_root
	make_criu "exit 1"
	skips "criu fails here even without io_uring" ./criu_test
}

@test "criu: nothing survives SIGTERM while CRIU hangs" {
	need_root
	cp criu_test "$BATS_TEST_TMPDIR/hung_criu_test"
	make_criu "touch $BATS_TEST_TMPDIR/hangs; exec -a hung_criu sleep 1000"
	sed -i 's/sh$/bash/' "$CRIU"
	"$BATS_TEST_TMPDIR/hung_criu_test" 3>&- &
	until [ -e "$BATS_TEST_TMPDIR/hangs" ]; do
		kill -0 $!
	done
	pgrep -f hung_criu
	kill $!
	wait $! || true
	# SIGKILL by PR_SET_PDEATHSIG is under way; its end is bounded.
	timeout 5 sh -c 'while pgrep -f "^([^ ]*/)?hung_criu"; do :; done'
}

@test "criu: the archive's newest dumps and restores who closed its ring" {
	need_root
	CRIU=$("$top/tools/companions/fetch")/run-criu run ./criu_test
	if [[ $output == *"1..0 # SKIP kernel lacks"* || $output == *"1..0 # SKIP criu fails here"* ]]; then
		skip "CRIU does not work on this kernel"
	fi
	[ "$status" -eq 0 ]
	[[ $output == *" fail:0 "* && $output != *" pass:0 "* ]]
}
