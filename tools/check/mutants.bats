#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The edit list of mutants, and those by rule, without building a kernel.

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
    changed = schema.apply(schema.load(sys.stdin.read()), [],
                           lambda file: (folder / file).read_text())
except schema.BadInput as why:
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
	grep 'once(int a) { if (!io_uring_is(2)) a++; return a; }' \
		"$BATS_TEST_TMPDIR/line"
	grep 'twice(int a) { a++; a++ - io_uring_is(2) ; return a; }' \
		"$BATS_TEST_TMPDIR/line"
}

@test "mutants: the kernel's command line chooses one" {
	mutate io_uring.c <<<"" | grep 'core_param(io_uring_mutant, io_uring_mutant, uint, 0444);'
}

@test "mutants: a cure is in effect unless its mutant is chosen, and is a patch" {
	cat >"$BATS_TEST_TMPDIR/cures.toml" <<-END
	[[counts_once]]
	breaks = "counting"
	in = "canned.c:twice"
	at = "a++; return a;"
	of = "a++"
	instead = "a += 3"
	[[counts_once]]
	in = "canned.c:once"
	at = "return a;"
	before = "if (!MUTANT && a > 9) return 9;\\n"
	[[counts_once]]
	in = "canned.c"
	at = "static int once(int a)"
	of = "static int"
	instead = "static long"
	always = true
	[[counts_once]]
	in = "canned.c"
	at = "static int once(int a)"
	before = "#include <linux/math.h>\\n"
	END
	mutate canned.c <"$BATS_TEST_TMPDIR/cures.toml" >"$BATS_TEST_TMPDIR/mutated.c"
	grep -A2 '^#include <linux/math.h>$' "$BATS_TEST_TMPDIR/mutated.c" | grep -A1 '^#line 3$' |
		grep -Fx ' /* static int */ static long  once(int a)'
	tr -s ' \t\n' ' ' <"$BATS_TEST_TMPDIR/mutated.c" | tee "$BATS_TEST_TMPDIR/line"
	grep '{ a++; (io_uring_is(1) ? a++ : ( a += 3 )) ; return a; }' "$BATS_TEST_TMPDIR/line"
	grep '{ a++; if (!io_uring_is(1) && a > 9) return 9; return a; }' "$BATS_TEST_TMPDIR/line"
	python3 -c 'import pathlib, schema, sys
folder = pathlib.Path(sys.argv[1])
print(schema.patch(schema.load((folder / "cures.toml").read_text()),
                   lambda file: (pathlib.Path(sys.argv[2]) / file).read_text()), end="")
' "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR" | tail -n +4 | grep '^[-+]' | diff - <(printf '%s\n' \
		'-static int once(int a)' '+#include <linux/math.h>' '+static long once(int a)' \
		'+if (a > 9) return 9;' '-a++;' '+a += 3;')
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

# What rules make of a function's body on standard input.
by_rule()
{
	mkdir -p "$BATS_TEST_TMPDIR/by_rule"
	{
		printf 'static int canned(struct one *one, int __user *user)\n{\n'
		sed 's/^/\t/'
		printf '\treturn 0;\n}\n'
	} >"$BATS_TEST_TMPDIR/by_rule/canned.c"
	python3 -c 'import build, pathlib, rules, schema, sys
folder = pathlib.Path(sys.argv[1])
edits = rules.generate(folder, schema.functions, {"canned.c": None})
for edit in edits:
    print(edit.line - 2, edit.title)
changed = schema.apply([], list(enumerate(edits, 1)), lambda file: (folder / file).read_text()
                       if file == "canned.c" else "")
(folder / "changed.c").write_text(changed["canned.c"].partition("#line 1\n")[2])
' "$BATS_TEST_TMPDIR/by_rule"
}

@test "mutants: each rule makes what it says, and nothing twice" {
	by_rule >"$BATS_TEST_TMPDIR/made" <<-'END'
	int __user *arg = user;
	LIST_HEAD(list);
	one->size++;
	if (test_bit(1, &one->flags) && (one->size > 2 || !one->next))
	goto out;
	wq_list_for_each(node, prev, &one->list) {
	raw_spin_unlock(&one->lock);
	lockdep_assert_held(&one->lock);
	}
	do {
	one = likely(one->next) ? one->next : NULL;
	} while (1);
	out:
	one->size = one->size ?: one->next;
	return -EINVAL;
	END
	diff "$BATS_TEST_TMPDIR/made" - <<-'END'
	3 without: one->size++;
	4 true: test_bit(1, &one->flags)
	4 false: test_bit(1, &one->flags) && (one->size > 2 || !one->next)
	4 true: test_bit(1, &one->flags) && (one->size > 2 || !one->next)
	4 constant: 1 in if (test_bit(1, &one->flags) && (one->size > 2 || !one->next))
	4 off by one: one->size > 2
	4 false: one->size > 2
	4 true: one->size > 2 || !one->next
	4 false: !one->next
	6 without: wq_list_for_each(node, prev, &one->list) {}
	7 slow: raw_spin_unlock(&one->lock);
	7 without: raw_spin_unlock(&one->lock);
	10 without: do {}
	11 without: one = likely(one->next) ? one->next : NULL;
	11 false: one->next
	11 true: one->next
	12 false: 1
	14 without: one->size = one->size ?: one->next;
	15 without: return -EINVAL;
	15 constant: EINVAL in return -EINVAL;
	16 constant: 0 in return 0;
	END
}

@test "mutants: edits by rule may lie in each other" {
	by_rule <<-'END'
	if (one->size < 3 && one->next)
	one->size++;
	else
	one->size = 0;
	END
	gcc -o "$BATS_TEST_TMPDIR/canned" -x c -Wall -Werror - <<-END
	#include <stdlib.h>
	#define __user
	static int chosen;
	static int io_uring_is(int number) { return number == chosen; }
	struct one { int size; struct one *next; };
	$(cat "$BATS_TEST_TMPDIR/by_rule/changed.c")
	int main(int argc, char **argv)
	{
		struct one one = { .size = atoi(argv[2]), .next = argc > 3 ? &one : NULL };

		chosen = atoi(argv[1]);
		return canned(&one, 0) * 10 + one.size;
	}
	END
	for number in {0..10}; do
		for state in "2 next" "3 next" 2 "5 next"; do
			status=0
			# shellcheck disable=SC2086 # one or two words
			"$BATS_TEST_TMPDIR/canned" "$number" $state || status=$?
			printf '%s ' $status
		done
		echo
	done | sed 's/ $//' >"$BATS_TEST_TMPDIR/became"
	# The good one; the whole left out; conditions; off by one; true; statements; constants.
	diff "$BATS_TEST_TMPDIR/became" - <<-END
	3 0 0 0
	2 3 2 5
	3 4 0 6
	0 0 0 0
	3 4 3 6
	3 4 0 0
	3 0 3 0
	2 0 0 0
	3 3 2 5
	3 1 1 1
	13 10 10 10
	END
}

@test "mutants: what does not compile is left out, and nothing beside it" {
	run python3 -c 'import build, arena, rules
def edit(number, line):
    return rules.Edit("a.c", "f", line, "without", str(number), 2 * line - 2, 2 * line - 1, "", "")
edits = [edit(1, 1), edit(2, 2), edit(3, 2), edit(4, 2), edit(5, 3)]
def compiled(some):
    bad = [one for one in some if one.what in ("3", "5")]
    return "".join(f"io_uring/a.c:{one.line}:1: error: no\n" for one in bad) + \
        "io_uring/a.c:1:1: warning: well\n"*bool(bad)
print([one.what for one in arena.sift(edits, {"a.c": "a\nb\nc\n"}, compiled)])'
	[ "$output" = "['1', '2', '4']" ]
}

@test "mutants: shards are all mutants together, and each only once" {
	python3 -c 'import build, verdicts
items = list(range(17))
parts = [verdicts.shard(items, f"{k}/5") for k in range(1, 6)]
assert sorted(sum(parts, [])) == items, parts
assert verdicts.shard(items, "") == items'
	run python3 -c 'import build, verdicts
try:
    verdicts.shard([], "6/5")
except build.BadInput as why:
    print(why)'
	[ "$output" = "SHARD=6/5: it can be 1/4, ..., 4/4" ]
}

@test "mutants: a verdict holds as long as its kernel, edit and program do" {
	python3 - "$BATS_TEST_TMPDIR/verdicts" <<-'END'
	import build, pathlib, rules, sys, types, verdicts
	edit = rules.Edit("a.c", "f", 1, "without", "x;", 0, 2, "", "")
	path = pathlib.Path(sys.argv[1])

	def judge(source="linux", reasons={}, unmet="", **binaries):
	    field = types.SimpleNamespace(source=source, edits={7: edit})
	    made = verdicts.Judge(verdicts.Store(path), field, binaries, reasons,
	                          types.SimpleNamespace(why=lambda edit: unmet))
	    made.learn()
	    return made

	def learn(judge, **seconds):
	    for program in seconds:
	        test = f"{program}:g.t"
	        judge.store.add(judge.key(), test, judge.binary(test), met=[7], seconds=seconds[program])
	        judge.store.add(judge.key(), program, judge.binary(test), tests=[test])
	    judge.learn()
	    return judge

	def came(judge, of, how):
	    judge.store.add(judge.key(edit), of, judge.binary(of), how=how, message="m", seconds=3)

	first = learn(judge(slow="s1", fast="f1"), slow=9, fast=1)
	assert first.tests(7) == ["fast:g.t", "slow:g.t"] and first.tests(8) == []
	assert first.verdict((7,), [edit]).how == "untried"
	came(first, "fast:g.t", "passed")
	assert first.left((7,), [edit]) == ["slow:g.t"]
	came(first, "slow:g.t", "killed")
	again = judge(slow="s1", fast="f1")
	assert again.verdict((7,), [edit]) == verdicts.Verdict("killed", "slow:g.t", "m", 3)
	other = judge("linux2", slow="s1", fast="f1")
	assert other.verdict((7,), [edit]).how == "not reached"
	assert learn(other, slow=9).verdict((7,), [edit]).how == "untried"
	changed = learn(judge(slow="s2", fast="f1"), slow=2)
	assert changed.left((7,), [edit]) == ["slow:g.t"]
	came(changed, "slow:g.t", "passed")
	assert changed.verdict((7,), [edit]).how == "survived"
	reasoned = judge(reasons={("f", "without: x;"): "so"}, slow="s2", fast="f1")
	assert reasoned.verdict((7,), [edit]).how == "reasoned"
	assert judge("linux3", unmet="so", fast="f1").verdict((7,), [edit]).how == "reasoned"
	END
}

@test "mutants: what fails is believed if it fails again alone, and else what is left is run" {
	run python3 - <<-'END'
	import build, arena, types
	from watch import Verdict, Watch

	# What fails: on a full machine once, or whenever it is run.
	def field(once, always):
	    runs = []
	    def run(number, programs, group=None, **options):
	        watch = Watch()
	        for program in programs:
	            runs.append(program)
	            watch.program = program
	            if program in always or (program in once and len(programs) > 1):
	                return Verdict("killed", program, "it failed"), watch
	            watch.seconds[program] = 1.0
	        return Verdict("survived"), watch
	    return types.SimpleNamespace(run=run), runs

	for once, always in ("b", ""), ("b", "c"), ("", "a"):
	    it, runs = field(once, always)
	    verdict, watch = arena.Arena.prove(it, 7, ["a", "b", "c", "d"])
	    print(verdict.how, verdict.by, verdict.message, *runs, sorted(watch.seconds))
	END
	[ "${lines[0]}" = "survived  b failed once, and not again: it failed a b b b c d ['a', 'b', 'c', 'd']" ]
	[ "${lines[1]}" = "killed c it failed a b b b c c ['a', 'b']" ]
	[ "${lines[2]}" = "killed a it failed a a []" ]
}

@test "mutants: a test that failed and cannot be killed is not waited for" {
	run python3 - <<-'END'
	import build, watch
	now = 0.0
	watch.time.monotonic = lambda: now
	for said in ("t.cpp:1:t:Expected 1 (1) == 0 (0)", "nothing"):
	    follow = watch.Watch()
	    follow("== a_test")
	    follow(f"# {said}")
	    start = now
	    try:
	        while True:
	            now += 5
	            follow(watch.ALIVE)
	    except (watch.Noticed, watch.Wedged) as how:
	        print(type(how).__name__, now - start)
	END
	[ "$output" = "Noticed 25.0
Wedged 205.0" ]
}
