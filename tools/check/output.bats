#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What the programs print, judged by parsers that others wrote.

load common
bats_require_minimum_version 1.5.0

setup_file()
{
	load common
	make_tree "$BATS_FILE_TMPDIR/tree"
	tree=$BATS_FILE_TMPDIR/tree
	selftests FORCE_TARGETS=1 install
	cd "$tree/tools/testing/selftests/kselftest_install"
	# A kernel known to lose the race may fail here: see what judge has to say.
	./run_kselftest.sh -c io_uring 2>&1 | tee "$BATS_FILE_TMPDIR/log" || true
	./run_kselftest.sh -c io_uring 2>&1 | tee "$BATS_FILE_TMPDIR/log2" || true
}

@test "output: kunit's parser reads the log, and all is as expected of this kernel" {
	for log in log log2; do
		"$top/tools/kernels/judge" <"$BATS_FILE_TMPDIR/$log"
	done
}

@test "output: prove accepts each program" {
	cd "$BATS_FILE_TMPDIR/tree/tools/testing/selftests/io_uring"
	# shellcheck disable=SC2086 # one word each
	prove -v --exec '' $(printf './%s ' $steady)
}

@test "output: npm's tap-parser accepts each program" {
	cd "$BATS_TEST_TMPDIR"
	npm install --silent --no-audit --no-fund tap-parser
	for program in $steady; do
		"$BATS_FILE_TMPDIR/tree/tools/testing/selftests/io_uring/$program" 2>/dev/null |
			npx --no-install tap-parser -f >"$program.log" || { cat "$program.log"; false; }
	done
}

names()
{
	sed -n 's/^# \(not \)\?ok [0-9]* \([^#]*[^ #]\).*/\2/p' "$1"
}

@test "output: names are [a-z0-9_.], unique, and the same in each run" {
	names "$BATS_FILE_TMPDIR/log" >"$BATS_TEST_TMPDIR/names"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/names")" -gt 40 ]
	! grep -v '^[a-z0-9_.]*$' "$BATS_TEST_TMPDIR/names"
	[ -z "$(tr -c 'a-z0-9\n' _ <"$BATS_TEST_TMPDIR/names" | sort | uniq -d)" ]
	names "$BATS_FILE_TMPDIR/log2" | diff "$BATS_TEST_TMPDIR/names" -
}

@test "output: no diagnostic that bots take for a result" {
	! sed 's/^\(# \)*//' "$BATS_FILE_TMPDIR/log" | grep -E '^(PASS|FAIL|SKIP)|\[OK\]$| FAIL:' |
		grep -v -e '^PASSED: ' -e '^FAILED: [0-9]* / [0-9]* tests passed'
}

@test "output: tally counts tests, and programs that died" {
	run "$top/tools/kselftest/tally" <<-END
	# ok 1 a
	# ok 2 b # SKIP no such thing
	ok 1 selftests: io_uring: one
	# ok 1 c
	not ok 2 selftests: io_uring: died # exit=139
	# 1..0 # SKIP kernel has no io_uring
	ok 3 selftests: io_uring: none # SKIP
	END
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "2 passed, 1 failed, 2 skipped" ]
	run "$top/tools/kselftest/tally" </dev/null
	[ "$status" -eq 1 ]
}

@test "output: make run_tests ends with its sum, and with an honest status" {
	run --separate-stderr make --no-print-directory -C "$top" run_tests
	[[ ${lines[-1]} =~ ^[0-9]+\ passed,\ ([0-9]+)\ failed,\ [0-9]+\ skipped$ ]]
	[ "$((status != 0))" -eq "$((BASH_REMATCH[1] != 0))" ]
	"$top/tools/kernels/judge" <<<"$output"
}
