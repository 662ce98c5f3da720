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

# A run of two programs on 7.2.13, which has the bug that the first one meets.
canned_run()
{
	cat <<-'END'
	TAP version 13
	1..3
	# Linux 7.2.13+deb14-cloud-amd64 #1 SMP Debian 7.2.13-1
	# selftests: io_uring: cancel_test
	# TAP version 13
	# 1..2
	# #  RUN           global.write_not_started ...
	# # cancel_test.cpp:128:write_not_started:Expected -EALREADY (-114) == found (-2)
	# # cancel_test.cpp:130:write_not_started:it was not found
	# # cancel_test.cpp:132:write_not_started:see io_wq_worker_cancel()
	# not ok 1 global.write_not_started
	# ok 2 global.other # SKIP needs root's privilege
	not ok 1 selftests: io_uring: cancel_test # exit=1
	# selftests: io_uring: criu_test
	# 1..0 # SKIP needs root's privilege
	ok 2 selftests: io_uring: criu_test # SKIP
	# selftests: io_uring: fork_test
	# ok 1 global.claim
	not ok 3 selftests: io_uring: fork_test # exit=139
	END
}

@test "output: tally says what failed, what is known of it, what was skipped, and the sum" {
	run -1 "$top/tools/kselftest/tally" <<<"$(canned_run)"
	[ "$(printf '%s\n' "${lines[@]}" | sed -n '/^failed:/,/^slowest/p' | sed '/^slowest/d')" = \
"failed: cancel_test:global.write_not_started
    it was not found
    known: a write that a worker has taken, but not started, cannot be cancelled; fixed in 6.12.115, 7.3.2
failed: fork_test
    exit=139
skipped: 2 for: needs root's privilege
    run it as root" ] || { printf '%s\n' "${lines[@]}"; false; }
	[ "${lines[-1]}" = "1 passed, 2 failed, 2 skipped" ]
}

@test "output: on a terminal a line for each program, and the KTAP in a file" {
	canned_run >"$BATS_TEST_TMPDIR/run"
	SHELL=/bin/sh script -qec "NO_COLOR=1 $top/tools/kselftest/tally $BATS_TEST_TMPDIR/build/ktap \
		<$BATS_TEST_TMPDIR/run" /dev/null </dev/null >"$BATS_TEST_TMPDIR/seen" || true
	diff "$BATS_TEST_TMPDIR/run" "$BATS_TEST_TMPDIR/build/ktap"
	grep -q '\[1/3\] cancel_test: 1 failed, 1 skipped, ' "$BATS_TEST_TMPDIR/seen"
	grep -q '\[3/3\] fork_test: 1 passed, 1 failed, ' "$BATS_TEST_TMPDIR/seen"
	grep -q "KTAP: $BATS_TEST_TMPDIR/build/ktap" "$BATS_TEST_TMPDIR/seen"
	! grep -q 'RUN  ' "$BATS_TEST_TMPDIR/seen"
}

@test "output: tally counts tests, and programs that died; nothing is no success" {
	run -1 "$top/tools/kselftest/tally" <<-END
	# ok 1 a
	# ok 2 b # SKIP no such thing
	ok 1 selftests: io_uring: one
	# ok 1 c
	not ok 2 selftests: io_uring: died # exit=139
	# 1..0 # SKIP kernel has no io_uring
	ok 3 selftests: io_uring: none # SKIP
	END
	[ "${lines[-1]}" = "2 passed, 1 failed, 2 skipped" ]
	run -1 "$top/tools/kselftest/tally" </dev/null
}

@test "output: TESTS= runs what it names, and names what there is not" {
	run --separate-stderr make --no-print-directory -C "$top" run_tests \
		TESTS="rearm_test:limits_hold fork_test rearm_test:reuse.*"
	[ "$status" -eq 0 ]
	[ "$(grep -c '^# selftests:' <<<"$output")" -eq 2 ]
	[ "$(grep '^# ok' <<<"$output" | head -n 4 | cut -d' ' -f 4)" = "global.limits_hold
reuse.bounded.new_ring_keeps_worker
reuse.unbounded.new_ring_keeps_worker
reuse.hashed.new_ring_keeps_worker" ]
	[ "${lines[-1]}" = "9 passed, 0 failed, 0 skipped" ]
	run ! make -C "$top" run_tests TESTS=rearm_test:nothing
	[[ $output == *"run: rearm_test has no test nothing"* ]]
	run ! make -C "$top" run_tests TESTS=nothing_test
	[[ $output == *"run: there is no program nothing_test"* ]]
}

@test "output: make run_tests ends with its sum, and with an honest status" {
	run --separate-stderr make --no-print-directory -C "$top" run_tests
	[[ ${lines[-1]} =~ ^[0-9]+\ passed,\ ([0-9]+)\ failed,\ [0-9]+\ skipped$ ]]
	[ "$((status != 0))" -eq "$((BASH_REMATCH[1] != 0))" ]
	"$top/tools/kernels/judge" <<<"$output"
}
