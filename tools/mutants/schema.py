# SPDX-License-Identifier: GPL-2.0
"""Puts all mutants of an edit list into one io_uring, each behind a condition.

mutants.toml is a list of tables: [[name]] says what the mutant breaks, and what to
insert where: `in`, a file and a function of it; `at`, an anchor, to be found there
exactly once, whatever the white space; `before` or `after`, or both, the text.  In
the text, MUTANT is true if this mutant was chosen at boot.  Further tables of a name
are further insertions.

`equivalent` is the reason why no test can notice a mutant; `race`, that it takes luck,
and how many runs it gets to have it.

cures.toml is a list of the same kind, of faults that the source has.  Its edits are in
effect unless the mutant of that name is chosen, which is the source as it is.  They are
patches as well, so that white space matters, and what asks for MUTANT is not part of
them.  More keys are for them: `of`, the part of the anchor that the edit is about;
`instead`, what that becomes; `always`, that it does so whatever is chosen, as a
declaration has to.  A file may do without a function, and be a header.
"""
import difflib
import os
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
HERE = Path(__file__).resolve().parent
EDITS, CURES = HERE / "mutants.toml", HERE / "cures.toml"
KEYS = {"breaks", "in", "at", "of", "before", "after", "instead", "always", "equivalent", "race"}
# What the text of a cure asks for, to be in effect only if its mutant was not chosen.
GUARD = re.compile(r"!MUTANT && |MUTANT \|\| |MUTANT \? [^:]* : ")


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


def edit_list():
    """All mutants, those that take a cure away last."""
    return load(EDITS.read_text() + CURES.read_text())


def cures():
    """By name."""
    names = tomllib.loads(CURES.read_text())
    return {mutant.name: mutant for mutant in edit_list() if mutant.name in names}


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


def found_once(name, edit, what, text, begin, end):
    anchor = r"\s+".join(re.escape(word) for word in what.split())
    found = [match.span() for match in re.compile(anchor).finditer(text, begin, end)]
    if len(found) != 1:
        raise BadInput(f"{name}: {len(found)} times in {edit['in']}, not once: {what}")
    return found[0]


def locate(name, edit, text):
    """Where what an edit is about begins and ends in its file's text."""
    file, _, within = edit["in"].partition(":")
    body = next((span for found, *span in functions(text) if found == within), None) \
        if within else (0, len(text))
    if not body:
        raise BadInput(f"{name}: no function {within} in {file}")
    span = found_once(name, edit, edit["at"], text, *body)
    return found_once(name, edit, edit["of"], text, *span) if "of" in edit else span


def condition(number, delay=False):
    return str(number) if delay else f"io_uring_is({number})"


def insertions_of(edit, begin, end):
    """(where, text) of what an edit of the list inserts."""
    if "instead" in edit:
        opening, middle, closing = ("/*", "*/", "") if edit.get("always") else ("(MUTANT ?", ": (", "))")
        yield begin, opening
        yield end, f"{middle} {edit['instead']} {closing}"
    for place, key in (begin, "before"), (end, "after"):
        if key in edit:
            yield place, edit[key]


def placed(edit, begin, end):
    """Insertions of an edit of the list: (stretch that it is about, place, text)."""
    for place, text in insertions_of(edit, begin, end):
        whole = place == begin and text.rstrip()[-1] in ";{}"
        # A statement of its own goes before all that is wrapped around what follows.
        yield (begin, float("inf") if whole else end), place, text


def order(numbered):
    """Last comes first; at one place, what closes before what opens, the inner before the outer."""
    number, ((begin, end), place, _) = numbered
    return (-place, 1, begin, -number) if begin < place else (-place, 0, end, number)


def ordered(insertions):
    return (insertion for _, insertion in sorted(enumerate(insertions), key=order))


def on_its_line(text, place, new):
    """The text to be inserted there, such that all lines of the text keep their numbers."""
    if new.startswith("#"):
        return f"\n{new.strip()}\n#line {text.count(chr(10), 0, place) + 1}\n"
    return f" {' '.join(new.split())} "


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
                new = re.sub(r"\bMUTANT\b", condition(mutant.number), text)
                insertions.setdefault(file, []).append((stretch, place, new))
    changed = {}
    for file, text in texts.items():
        for _, place, new in ordered(insertions[file]):
            text = f"{text[:place]}{on_its_line(text, place, new)}{text[place:]}"
        changed[file] = f"{HEAD}#line 1\n{text}" if file.endswith(".c") else text
    last = max([mutant.number for mutant in mutants] + [number for number, _ in edits], default=0)
    changed["io_uring.c"] += TAIL.replace("LAST", str(last))
    return changed


def reader(linux):
    """Has a file of io_uring's text, or None, by its name there, for apply() and cured()."""
    def read(file):
        path = linux / "io_uring" / file
        return path.read_text() if path.exists() else None
    return read


def cured(cures, read):
    """The texts with all these cures, as for a patch, by file."""
    texts, changes = {}, {}
    for cure in cures:
        for edit in cure.edits:
            file = edit["in"].partition(":")[0]
            if texts.setdefault(file, read(file)) is None:
                raise BadInput(f"{cure.name}: no file {file}")
            begin, end = locate(cure.name, edit, texts[file])
            if "instead" in edit:
                changes.setdefault(file, []).append(((begin, begin), begin, (end, edit["instead"])))
            plain = {key: GUARD.sub("", edit[key]) for key in ("before", "after") if key in edit}
            changes.setdefault(file, []).extend(
                (stretch, place, (place, new)) for stretch, place, new in placed(plain, begin, end))
    for file, changed in changes.items():
        for _, place, (until, new) in ordered(changed):
            texts[file] = texts[file][:place] + new + texts[file][until:]
    return texts


def patch(cures, read):
    """The diff that makes these cures, for patch -p1."""
    def lines():
        for file, new in sorted(cured(cures, read).items()):
            path = os.path.normpath(f"io_uring/{file}")
            yield from difflib.unified_diff(read(file).splitlines(True), new.splitlines(True),
                                            f"a/{path}", f"b/{path}")
    return "".join(lines())
