#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What documents say of the kernel and of the tests.

load common

page=$BATS_TEST_DIRNAME/../../Documentation/worker-lifetime.rst

@test "documents: each function named exists in the newest kernel" {
	linux=$("$top/tools/kernels/source")
	grep -o '[a-z_]*()' "$page" | tr -d '()' | sort -u | while read -r function; do
		grep -rqw "$function" "$linux/io_uring" "$linux/kernel" "$linux/fs/open.c" ||
			{ echo "no $function()"; false; }
	done
	grep -o '[A-Z_]\{3,\}_[A-Z_]*' "$page" | sort -u | while read -r constant; do
		grep -rqw "$constant" "$linux/io_uring" "$linux/include/linux" ||
			{ echo "no $constant"; false; }
	done
}

@test "documents: each test named exists" {
	grep -o '``[a-z_]*_test``' "$page" | tr -d '`' | sort -u | while read -r program; do
		[ -e "$source/$program.cpp" ]
	done
	# A fixture or a test.
	for name in $(sed -n '/^(1)/,/^$/p' "$page" | grep -o '``[a-z_]*``' | tr -d '`' | grep -v _test); do
		grep -Eq "^(FIXTURE|TEST)\($name\)" "$source"/*_test.cpp
	done
}

@test "documents: the page of results has the bugs that expectations.toml knows" {
	bugs()
	{
		sed '/^## On each kernel/,$d' "$@"
	}
	"$top/tools/kernels/results-page" | bugs | diff - <(bugs "$top/Documentation/results.md")
}
