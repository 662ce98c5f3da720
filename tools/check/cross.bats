#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The architectures that bots build for, without a warning, linked both ways.

load common

linked()
{
	for program in $programs; do
		file "$dir/io_uring/$program" | grep "$1"
	done
}

builds()
{
	dir=$BATS_TEST_TMPDIR/$1
	CPPFLAGS=-Werror "$top/tools/cross/tree" "$1" "$dir"
	linked 'statically linked'
	rm "$dir.build"/kselftest/io_uring/*_test
	CPPFLAGS=-Werror "$top/tools/cross/tree" "$1" "$dir" ""
	linked 'dynamically linked'
}

@test "cross: arm64" { builds arm64; }
@test "cross: armhf" { builds armhf; }
@test "cross: i386" { builds i386; }
@test "cross: ppc64el" { builds ppc64el; }
@test "cross: riscv64" { builds riscv64; }
@test "cross: s390x" { builds s390x; }
