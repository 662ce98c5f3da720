# SPDX-License-Identifier: GPL-2.0
"""What a log of the kselftest runner says: read by the kernel's own KTAP parser."""
import functools
import importlib
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from archive import BadInput

PROGRAM = re.compile(r"# selftests: (?P<collection>\S+): (?P<name>\S+)")
RESULT = re.compile(r"(not )?ok \d+ selftests: \S+: (?P<name>\S+)")
# What the harness and the tests say: file:line:test:text, or how a test ended.
SAID = re.compile(r"#\s+(?:\w+\.[ch]pp:\d+:\w+:(.*)|\w+: (Test .*))")
# What side-by-side says, as it prints all of a program's lines at once.
TOOK = re.compile(r"# (?P<name>\S+_test) took (?P<seconds>\S+) s")
DELAY = re.compile(r"workers left (\d+\.\d+) ms after close\(\)")
VERDICT = {"SUCCESS": "passed", "SKIPPED": "skipped", "FAILURE": "failed"}


@dataclass(frozen=True)
class Test:
    name: str           # program:test, or of a program that says nothing of tests, program
    verdict: str        # passed, skipped, failed; crashed if it did not come to an end
    reason: str = ""    # of a skip
    log: str = ""


@dataclass
class Program:
    name: str
    tests: list = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""       # all that it said

    def count(self, *verdicts: str) -> int:
        return sum(test.verdict in verdicts for test in self.tests)


def as_subtests(lines) -> Iterator[str]:
    """Turns programs into subtests as KTAP has them: the runner prefixes their lines by "# ".

    Several runs of it, one after the other, become one.
    """
    programs = []
    planned = 0
    inside = None
    reason = ""
    for line in lines:
        line = line.rstrip("\r\n")
        if PROGRAM.fullmatch(line):
            inside, reason = ["  KTAP version 1", f"  # Subtest: {line[2:]}"], ""
        elif inside and RESULT.match(line):
            line = re.sub("ok [0-9]+", f"ok {len(programs) + 1}", line, 1)
            inside.append(line + (f" {reason}" if reason and line.endswith("# SKIP") else ""))
            programs.append(inside)
            inside = None
        elif skip := re.fullmatch(r"# 1\.\.0 # SKIP (.*)", line):
            reason = skip[1]
        elif inside and not re.fullmatch(r"# K?TAP version \d+", line):
            inside.append("  " + line.removeprefix("# "))
        elif plan := re.fullmatch(r"1\.\.(\d+)", line):
            planned += int(plan[1])
    # One that did not come to its end.
    if inside:
        programs.append(inside)
    yield "KTAP version 1"
    yield f"1..{max(planned, len(programs))}"
    for program in programs:
        yield from program


@functools.lru_cache(maxsize=None)
def kunit():
    """The modules of the kernel's KTAP parser."""
    fetched = subprocess.run([Path(__file__).resolve().parents[1] / "kselftest/fetch"],
                             stdout=subprocess.PIPE, text=True)
    if fetched.returncode:
        raise BadInput("no kernel source, whose KTAP parser is needed")
    sys.path.append(f"{fetched.stdout.strip()}/tools/testing/kunit")
    return importlib.import_module("kunit_parser"), importlib.import_module("kunit_printer")


def parse(ktap: str, stamps=()) -> list:
    """The programs of a log; @stamps say when each of its lines came."""
    lines = ktap.splitlines()
    seconds = durations(zip(stamps, lines))
    logs = by_program(lines)
    parser, printer = kunit()
    main = parser.parse_run_tests(as_subtests(lines), printer.null_printer)
    programs = []
    for suite in main.subtests:
        program = Program(suite.name.rpartition(" ")[2])
        program.seconds = seconds.get(program.name, 0.0)
        program.log = "\n".join(logs.get(program.name, []))
        for test in suite.subtests:
            program.tests.append(convert(f"{program.name}:{test.name or 'did not run'}", test))
        its_own = convert(program.name, suite)
        if not program.tests or (its_own.verdict in ("failed", "crashed")
                                 and not program.count("failed", "crashed")):
            program.tests.append(its_own)
        programs.append(program)
    return programs


def convert(name: str, test) -> Test:
    return Test(name, VERDICT.get(test.status.name, "crashed"), test.skip_reason, "\n".join(test.log))


def by_program(lines) -> dict:
    logs, log = {}, []
    for line in lines:
        if match := PROGRAM.fullmatch(line):
            log = logs.setdefault(match["name"], [])
        log.append(line)
    return logs


def durations(stamped_lines) -> dict:
    seconds, begun = {}, {}
    for stamp, line in stamped_lines:
        if match := PROGRAM.fullmatch(line):
            begun[match["name"]] = stamp
        elif (match := RESULT.match(line)) and match["name"] in begun:
            seconds[match["name"]] = stamp - begun[match["name"]]
        elif match := TOOK.fullmatch(line):
            seconds[match["name"]] = float(match["seconds"])
    return seconds


def delays(ktap: str) -> list:
    """From each close() to the workers' exit, in ms."""
    return [float(delay) for delay in DELAY.findall(ktap)]


def complaint(lines) -> str:
    """What a failing test said of it: its own words, rather than the comparison."""
    said = [match[1] or match[2] for line in lines if (match := SAID.match(line))]
    for number, text in enumerate(said):
        if text.startswith("Expected "):
            own = [words for words in said[number + 1:number + 2]
                   if not words.startswith(("Expected ", "Test "))]
            return (own or [text])[0]
    return said[-1] if said else ""
