# SPDX-License-Identifier: GPL-2.0
"""What came of tests on mutants by rule: kept, and looked up by all that it depends on.

The file is one of JSON lines, only ever added to, by several processes too; what is in
it holds for as long as the kernel's source, the edit and the program's binary are the same.
"""
import collections
import hashlib
import json
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

import build

REASONS = Path(__file__).resolve().parent / "equivalent.toml"
UNCOVERED = REASONS.with_name("uncovered.toml")
# From the best to the worst; a line of the map is as its worst mutant.
HOWS = "killed", "crashed", "reasoned", "untried", "not reached", "survived", "wedged"
OPEN = "not reached", "survived", "wedged"


@dataclass
class Verdict:
    how: str
    test: str = ""      # as program:test
    message: str = ""
    seconds: float = 0.0


class Store:
    def __init__(self, path):
        self.path, self.known, self.lock = path, {}, threading.Lock()
        if path.exists():
            for line in path.read_text().splitlines():
                self._take(json.loads(line))

    def _take(self, record):
        self.known[record["key"], record["of"], record["binary"]] = record

    def add(self, key, of, binary, **what):
        """Of a program, or of one of its tests."""
        record = {"key": key, "of": of, "binary": binary, **what}
        with self.lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            self._take(record)

    def get(self, key, of, binary):
        return self.known.get((key, of, binary))


class Judge:
    """Says what became of edits, as far as the tests that meet them were run."""

    def __init__(self, store, field, binaries, reasons, uncovered):
        self.store, self.field, self.binaries = store, field, binaries
        self.reasons, self.uncovered = reasons, uncovered
        self.seconds, self.met = {}, {}
        self.killers = collections.defaultdict(dict)    # by function: test -> seconds

    def key(self, *edits):
        """Of edits of the source; of none, of the whole kernel with all of them."""
        return build.digest(self.field.source, *(edits or self.field.edits.items()))[:16]

    def binary(self, of):
        return self.binaries[of.partition(":")[0]]

    def get(self, of, *edits):
        return self.store.get(self.key(*edits), of, self.binary(of))

    def good(self, program):
        """Which tests the program has, if it was run on the kernel without a mutant."""
        return self.get(program)

    def learn(self):
        """Who meets which numbers, from the good kernel's runs, and who killed what."""
        for program in filter(self.good, self.binaries):
            for test in self.good(program)["tests"]:
                self.seconds[test] = self.get(test)["seconds"]
                self.met[test] = set(self.get(test)["met"])
        for number, edit in self.field.edits.items():
            if self.verdict((number,), [edit]).how == "killed":
                self.note(edit, self.verdict((number,), [edit]).test)

    def note(self, edit, test):
        """A test killed an edit, in so many seconds."""
        seconds = self.get(test, edit)["seconds"]
        known = self.killers[edit.function]
        known[test] = min(seconds, known.get(test, seconds))

    def tests(self, *numbers):
        """Those that meet these edits, the quickest first."""
        return sorted((test for test, met in self.met.items() if met >= set(numbers)),
                      key=self.seconds.get)

    def left(self, numbers, edits):
        """The tests that are still to be run on these edits: first who killed a neighbour soonest."""
        left = [test for test in self.tests(*numbers) if not self.get(test, *edits)]
        known = self.killers[edits[0].function]
        return sorted(left, key=lambda test: known.get(test, float("inf")))

    def verdict(self, numbers, edits):
        records = [self.get(test, *edits) for test in self.tests(*numbers)]
        reason = self.reasons.get((edits[0].function, edits[0].title), "")
        for record in filter(None, records):
            if record["how"] != "passed":
                return Verdict(record["how"], record["of"], record["message"], record["seconds"])
        if reason:
            return Verdict("reasoned", message=reason)
        if not records:
            why = self.uncovered.why(edits[0])
            return Verdict("reasoned", message=why) if why else Verdict("not reached")
        if None in records:
            return Verdict("untried")
        return Verdict("survived", message="; ".join(
            {record["message"] for record in records if record["message"]}))


class Uncovered:
    """Why no test reaches a line, as coverage has it."""

    def __init__(self, folder):
        self.folder, self.lines = folder, {}
        self.reasons = tomllib.loads(UNCOVERED.read_text())

    def why(self, edit):
        given = self.reasons.get(edit.function, "")
        if isinstance(given, str):
            return given
        if edit.file not in self.lines:
            self.lines[edit.file] = (self.folder / edit.file).read_text().splitlines()
        return given.get(self.lines[edit.file][edit.line - 1].strip(), "")


def load_reasons(edits):
    """(function, title) -> why no test can notice it; each has to be about an edit that there is."""
    there = {(edit.function, edit.title) for edit in edits}
    reasons = {}
    for function, lines in tomllib.loads(REASONS.read_text()).items():
        for title, why in lines.items():
            if (function, title) not in there:
                raise build.BadInput(f"{REASONS.name}: no edit '{title}' in {function}()")
            reasons[function, title] = " ".join(why.split())
    return reasons


def binary(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def shard(items, which):
    """The k-th of n parts, for which = k/n: all parts together are all items, each once."""
    if not which:
        return items
    k, _, n = which.partition("/")
    if not (k.isdigit() and n.isdigit() and 1 <= int(k) <= int(n)):
        raise build.BadInput(f"SHARD={which}: it can be 1/4, ..., 4/4")
    return items[int(k) - 1::int(n)]
