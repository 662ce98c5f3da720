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

PARAMETER = "io_uring_mutant"
EDITS = Path(__file__).resolve().parent / "mutants.toml"
KEYS = {"breaks", "in", "at", "before", "after", "equivalent", "race"}


class BadEdit(Exception):
    """An edit that does not fit the source; one line says which."""


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
                raise BadEdit(f"{name}: unknown: {', '.join(sorted(unknown))}")
        first = edits[0]
        if "breaks" not in first:
            raise BadEdit(f"{name}: does not say what it breaks")
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
        raise BadEdit(f"{name}: no function {within} in {file}")
    anchor = r"\s+".join(re.escape(word) for word in edit["at"].split())
    found = [match.span() for match in re.compile(anchor).finditer(text, *body)]
    if len(found) != 1:
        raise BadEdit(f"{name}: {len(found)} times in {edit['in']}, not once: {edit['at']}")
    return found[0]


def apply(mutants, read):
    """The mutated texts, by file; read(file) has the original one, or None."""
    insertions = {"io_uring.c": []}
    texts = {"io_uring.c": read("io_uring.c")}
    for mutant in mutants:
        for edit in mutant.edits:
            file = edit["in"].partition(":")[0]
            if texts.setdefault(file, read(file)) is None:
                raise BadEdit(f"{mutant.name}: no file {file}")
            begin, end = locate(mutant.name, edit, texts[file])
            condition = f"unlikely({PARAMETER} == {mutant.number})"
            for place, key in (begin, "before"), (end, "after"):
                if key in edit:
                    new = re.sub(r"\bMUTANT\b", condition, " ".join(edit[key].split()))
                    insertions.setdefault(file, []).append((place, f" {new} "))
    changed = {}
    for file, text in texts.items():
        for place, new in sorted(insertions[file], key=lambda item: -item[0]):
            text = text[:place] + new + text[place:]
        changed[file] = f"#include <linux/delay.h>\nextern unsigned int {PARAMETER};\n#line 1\n{text}"
    changed["io_uring.c"] += f"""
#include <linux/moduleparam.h>
unsigned int {PARAMETER};
core_param({PARAMETER}, {PARAMETER}, uint, 0444);
"""
    return changed
