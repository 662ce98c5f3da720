#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What the programs print, judged by parsers that others wrote.

load common

setup_file()
{
	load common
	make_tree "$BATS_FILE_TMPDIR/tree"
	tree=$BATS_FILE_TMPDIR/tree
	selftests FORCE_TARGETS=1 install
	cd "$tree/tools/testing/selftests/kselftest_install"
	./run_kselftest.sh -c io_uring 2>&1 | tee "$BATS_FILE_TMPDIR/log"
	./run_kselftest.sh -c io_uring 2>&1 | tee "$BATS_FILE_TMPDIR/log2"
}

@test "output: kunit.py parses the log, nothing failed" {
	python3 "$BATS_FILE_TMPDIR/tree/tools/testing/kunit/kunit.py" parse \
		"$BATS_FILE_TMPDIR/log"
}

@test "output: prove accepts each program" {
	cd "$BATS_FILE_TMPDIR/tree/tools/testing/selftests/io_uring"
	# shellcheck disable=SC2086 # one word each
	prove -v --exec '' $(printf './%s ' $programs)
}

@test "output: npm's tap-parser accepts each program" {
	cd "$BATS_TEST_TMPDIR"
	npm install --silent --no-audit --no-fund tap-parser
	for program in $programs; do
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
		grep -v '^PASSED: '
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

@test "output: make run_tests ends with its sum" {
	run make --no-print-directory -C "$top" run_tests
	[ "$status" -eq 0 ]
	[[ ${lines[-1]} =~ ^[0-9]+\ passed,\ 0\ failed,\ [0-9]+\ skipped$ ]]
}
