#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The edit list of mutants, without building a kernel.

load common

setup()
{
	cd "$top/tools/mutants"
	export PYTHONPATH=$top/tools/kernels
	cat >"$BATS_TEST_TMPDIR/canned.c" <<-END
	static int twice(int a);

	static int once(int a)
	{
		a++;
		return a;
	}

	static int twice(int a)
	{
		a++;
		a++;
		return a;
	}
	END
	echo "int io_uring;" >"$BATS_TEST_TMPDIR/io_uring.c"
}

# Applies the edit list on standard input to the canned source, and prints it.
mutate()
{
	python3 -c 'import pathlib, sys, schema
folder = pathlib.Path(sys.argv[1])
try:
    changed = schema.apply(schema.load(sys.stdin.read()),
                           lambda file: (folder / file).read_text())
except schema.BadEdit as why:
    sys.exit(str(why))
print(changed[sys.argv[2]])
' "$BATS_TEST_TMPDIR" "$1"
}

@test "mutants: an edit goes where its anchor is, behind a condition" {
	mutate canned.c >"$BATS_TEST_TMPDIR/mutated.c" <<-END
	[[unused]]
	breaks = "nothing"
	in = "canned.c:once"
	at = "return a"
	[[keeps_count]]
	breaks = "counting"
	in = "canned.c:once"
	at = "a++;"
	before = "if (!MUTANT)"
	[[keeps_count]]
	in = "canned.c:twice"
	at = "a++; a++"
	after = "- MUTANT"
	END
	tr -s ' \t\n' ' ' <"$BATS_TEST_TMPDIR/mutated.c" | tee "$BATS_TEST_TMPDIR/line"
	grep 'once(int a) { if (!unlikely(io_uring_mutant == 2)) a++; return a; }' \
		"$BATS_TEST_TMPDIR/line"
	grep 'twice(int a) { a++; a++ - unlikely(io_uring_mutant == 2) ; return a; }' \
		"$BATS_TEST_TMPDIR/line"
}

@test "mutants: the kernel's command line chooses one" {
	mutate io_uring.c <<<"" | grep 'core_param(io_uring_mutant, io_uring_mutant, uint, 0444);'
}

# One edit, that is refused for the reason given.
refused()
{
	run mutate canned.c <<-END
	[[some_name]]
	breaks = "something"
	$2
	END
	[ "$status" -eq 1 ]
	[ "$output" = "some_name: $1" ]
}

@test "mutants: what does not fit exactly once names the mutant" {
	refused "2 times in canned.c:twice, not once: a++" 'in = "canned.c:twice"
at = "a++"'
	refused "0 times in canned.c:once, not once: b++" 'in = "canned.c:once"
at = "b++"'
	refused "no function thrice in canned.c" 'in = "canned.c:thrice"
at = "a++"'
	refused "unknown: befor" 'in = "canned.c:once"
at = "a++"
befor = "x"'
}

@test "mutants: the list has 40 at least, each saying what it breaks" {
	python3 -c 'import schema
mutants = schema.load(schema.EDITS.read_text())
assert len(mutants) >= 40
assert all(edit["at"].count("\n") == 0 and len(edit["at"]) < 70
           for mutant in mutants for edit in mutant.edits)
'
}

@test "mutants: the first test that fails stops the run, and its own words are kept" {
	run python3 -c 'import sys, watch
follow = watch.Watch()
try:
    for line in sys.stdin:
        follow(line.rstrip())
except watch.Noticed:
    verdict = follow.verdict("killed")
    print(verdict.how, verdict.by, verdict.message, sep="\n")
' <<-END
	== idle_exit_test
	TAP version 13
	# Starting 2 tests from 2 test cases.
	#  RUN           global.passes ...
	# idle_exit_test.cpp:140:passes:workers left 11.874 ms after close()
	#            OK  global.passes
	ok 1 global.passes
	#  RUN           work.hashed.last_ring_closed ...
	# idle_exit_test.cpp:75:last_ring_closed:Expected Exit::gone (0) == seen.fate (1)
	# promise.hpp:29:last_ring_closed:an idle worker lingers: 4 of 4 are still there
	# threads of 84, Threads: 5
	# last_ring_closed: Test terminated by assertion
	#          FAIL  work.hashed.last_ring_closed
	not ok 2 work.hashed.last_ring_closed
	not ok 3 never.reached
	END
	[ "${lines[0]}" = killed ]
	[ "${lines[1]}" = "idle_exit_test: work.hashed.last_ring_closed" ]
	[ "${lines[2]}" = "an idle worker lingers: 4 of 4 are still there" ]
}
