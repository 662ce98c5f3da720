# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# For files that run the programs: they are built once, and each test begins beside them.

load common

setup_file()
{
	load common
	build_programs
}

setup()
{
	cd "$BATS_FILE_TMPDIR/bin" || return
}
