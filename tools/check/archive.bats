#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The distribution's archive, where it cannot be read in part or at all.

load common
bats_require_minimum_version 1.5.0

lists()
{
	XDG_CACHE_HOME=$BATS_TEST_TMPDIR "$@" "$top/tools/archive/archive" list '^liburing-dev$'
}

@test "archive: a suite that cannot be read is said and left out" {
	state=$BATS_TEST_TMPDIR/io_uring-selftest/apt
	mkdir -p "$state"
	"$top/tools/archive/archive" list '^liburing-dev$' >/dev/null
	cp -r "${XDG_CACHE_HOME:-$HOME/.cache}/io_uring-selftest/apt/lists" "$state"
	rm "$state"/lists/*_dists_sid_*
	cat >"$BATS_TEST_TMPDIR/apt-get" <<-END
		#!/bin/sh
		sed -i 's/ sid / none /' "$state/sources.list"
		exec $(command -v apt-get) "\$@"
	END
	chmod +x "$BATS_TEST_TMPDIR/apt-get"
	PATH=$BATS_TEST_TMPDIR:$PATH run -0 --separate-stderr lists env
	[[ $stderr == *"not all lists could be read: going on without sid"* ]]
	[[ $output == *"liburing-dev 2.3"* ]]
}

@test "archive: what could not be read is asked for again" {
	need_root
	run -2 lists unshare -n
	[[ $output == *"cannot read the archive's lists" ]]
	[ -z "$(find "$BATS_TEST_TMPDIR" -name updated)" ]
}
