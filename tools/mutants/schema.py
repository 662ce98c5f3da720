# SPDX-License-Identifier: GPL-2.0
"""Puts all mutants of an edit list into one io_uring, each behind a condition.

mutants.toml is a list of tables: [[name]] says what the mutant breaks, and what to
insert where: `in`, a file and a function of it; `at`, an anchor, to be found there
exactly once, whatever the white space; `before` or `after`, or both, the text.  In
the text, MUTANT is true if this mutant was chosen at boot.  Further tables of a name
are further insertions.

`equivalent` is the reason why no test can notice a mutant; `race`, that it takes luck,
and how many runs it gets to have it.
"""
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from build import BadInput

PARAMETER = "io_uring_mutant"
# A second one beside it, for delays.
SECOND = "io_uring_second"
# In each file: whether a mutant was chosen, and that it was met in this round.
HEAD = f"""#pragma GCC diagnostic warning "-Wreturn-type"
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
extern unsigned int {PARAMETER}, {SECOND};
extern unsigned int io_uring_round, io_uring_met[];
static __always_inline bool io_uring_is(unsigned int number)
{{
	WRITE_ONCE(io_uring_met[number], io_uring_round);
	return unlikely({PARAMETER} == number);
}}
extern void io_uring_slow(unsigned int number);
"""
# In one: the parameters, who was met in this round, and a delay: asleep, where the place allows that and
# is no worker, whose sleep is work for the scheduler to hand on.
TAIL = f"""
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
unsigned int {PARAMETER}, {SECOND}, io_uring_round = 1, io_uring_met[LAST + 1];
core_param({PARAMETER}, {PARAMETER}, uint, 0444);
core_param({SECOND}, {SECOND}, uint, 0444);
core_param(io_uring_round, io_uring_round, uint, 0644);
void io_uring_slow(unsigned int number)
{{
	WRITE_ONCE(io_uring_met[number], io_uring_round);
	if (likely({PARAMETER} != number && {SECOND} != number) || get_random_u32_below(3))
		return;
	if (preemptible() && !rcu_preempt_depth() && get_current_state() == TASK_RUNNING &&
	    !(current->flags & PF_IO_WORKER)) {{
		msleep(12);
	}} else {{
		u64 until = ktime_get_mono_fast_ns() + 12 * NSEC_PER_MSEC;

		while (ktime_get_mono_fast_ns() < until)
			cpu_relax();
	}}
}}
static int io_uring_met_show(struct seq_file *file, void *unused)
{{
	for (int i = 0; i <= LAST; i++)
		if (READ_ONCE(io_uring_met[i]) == io_uring_round)
			seq_printf(file, "%d\\n", i);
	return 0;
}}
static int __init io_uring_met_init(void)
{{
	proc_create_single("io_uring_met", 0400, NULL, io_uring_met_show);
	return 0;
}}
late_initcall(io_uring_met_init);
"""
EDITS = Path(__file__).resolve().parent / "mutants.toml"
KEYS = {"breaks", "in", "at", "before", "after", "equivalent", "race"}


@dataclass
class Mutant:
    name: str
    number: int         # what chooses it at boot; 0 chooses none
    breaks: str
    equivalent: str
    runs: int           # how many chances a race gets; else 0
    edits: list

    @property
    def race(self):
        return self.runs > 0


def load(text):
    mutants = []
    for number, (name, edits) in enumerate(tomllib.loads(text).items(), 1):
        for edit in edits:
            if unknown := set(edit) - KEYS:
                raise BadInput(f"{name}: unknown: {', '.join(sorted(unknown))}")
        first = edits[0]
        if "breaks" not in first:
            raise BadInput(f"{name}: does not say what it breaks")
        mutants.append(Mutant(name, number, first["breaks"], first.get("equivalent", ""),
                              first.get("race", 0), edits))
    return mutants


def functions(text):
    """(name, begin, end) of each function, its head included."""
    for match in re.finditer(r"^\w[^;{}()]*?\b(\w+)\([^;{}]*\)[^;{}]*\n\{\n.*?^\}", text,
                             re.MULTILINE | re.DOTALL):
        yield match[1], *match.span()


def locate(name, edit, text):
    """Where an edit's anchor begins and ends in its file's text."""
    file, _, within = edit["in"].partition(":")
    body = next((span for found, *span in functions(text) if found == within), None)
    if not body:
        raise BadInput(f"{name}: no function {within} in {file}")
    anchor = r"\s+".join(re.escape(word) for word in edit["at"].split())
    found = [match.span() for match in re.compile(anchor).finditer(text, *body)]
    if len(found) != 1:
        raise BadInput(f"{name}: {len(found)} times in {edit['in']}, not once: {edit['at']}")
    return found[0]


def condition(number, delay=False):
    return str(number) if delay else f"io_uring_is({number})"


def placed(edit, begin, end):
    """Insertions of an edit of the list: (stretch that it is about, place, text)."""
    for place, key in (begin, "before"), (end, "after"):
        if key in edit:
            whole = key == "before" and edit[key].rstrip()[-1] in ";{}"
            # A statement of its own goes before all that is wrapped around what follows.
            yield (begin, float("inf") if whole else end), place, edit[key]


def order(insertion):
    """Last comes first; at one place, what closes before what opens, the inner before the outer."""
    (begin, end), place, _ = insertion
    return (-place, 1, begin) if begin < place else (-place, 0, end)


def apply(mutants, edits, read):
    """The mutated texts, by file; read(file) has the original one, or None.

    @edits by rule come with their numbers.
    """
    insertions = {"io_uring.c": []}
    texts = {"io_uring.c": read("io_uring.c")}
    for number, edit in edits:
        texts.setdefault(edit.file, read(edit.file))
        insertions.setdefault(edit.file, []).extend(
            ((edit.begin, edit.end), place, text.replace("MUTANT", condition(number, edit.delay)))
            for place, text in ((edit.begin, edit.before), (edit.end, edit.after)))
    for mutant in mutants:
        for edit in mutant.edits:
            file = edit["in"].partition(":")[0]
            if texts.setdefault(file, read(file)) is None:
                raise BadInput(f"{mutant.name}: no file {file}")
            for stretch, place, text in placed(edit, *locate(mutant.name, edit, texts[file])):
                new = re.sub(r"\bMUTANT\b", condition(mutant.number), " ".join(text.split()))
                insertions.setdefault(file, []).append((stretch, place, new))
    changed = {}
    for file, text in texts.items():
        for _, place, new in sorted(insertions[file], key=order):
            text = f"{text[:place]} {new} {text[place:]}"
        changed[file] = f"{HEAD}#line 1\n{text}"
    last = max([mutant.number for mutant in mutants] + [number for number, _ in edits], default=0)
    changed["io_uring.c"] += TAIL.replace("LAST", str(last))
    return changed
