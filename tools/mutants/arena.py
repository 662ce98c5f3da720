# SPDX-License-Identifier: GPL-2.0
"""A kernel with all mutants, by hand and by rule, and the selftest's programs on it."""
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import build
import rules
import schema
from watch import ALIVE, Noticed, Verdict, Watch, Wedged

import guest
import judge
import userland

# Longer than all programs take on a loaded machine, and than a failing test can.
LIMIT = 600
# The number of the first mutant by rule, beyond those of the list, however many these are.
FIRST = 1001
# As many as two cores start and run faster than fewer.
GUESTS = 4
# How often what failed on a mutant is tried again, alone, to fail at least once more.
AGAIN = 2
# What a test waits for takes milliseconds on a good kernel, and on mutants fails soon; seconds.
EVENT = 3
# A guest says that it lives; seconds.
BEAT, DEAD = 5, 60
# What the compiler says, and the lines that it is about, or where a macro was used.
SAID = re.compile(r": (error|warning): ")
PLACE = re.compile(r"\bio_uring/(\S+\.c):(\d+):\d+: ")


@dataclass
class Arena:
    place: tempfile.TemporaryDirectory
    kernel: Path
    source: str         # what tells its source from others, but for mutants
    tree: Path
    programs: list
    edits: dict         # by rule, by number
    all_edits: list     # those too that do not compile
    guests: int = GUESTS

    def boot(self, number, command, second=0, **options):
        return guest.boot(self.kernel, self.tree, command=command,
                          cmdline=f"{schema.PARAMETER}={number} {schema.SECOND}={second}", **options)

    def prove(self, number, programs, group=None):
        """Runs programs, or tests, on a mutant until one fails, and fails again when it is alone.

        On a loaded machine, a test may fail by that alone: it is said of who survives.
        """
        soon = {"KSFT_EVENT_LIMIT": str(EVENT)}
        doubt, seconds, start = "", {}, time.monotonic()
        while True:
            verdict, watch = self.run(number, programs, group, environment=soon)
            seconds |= watch.seconds
            watch.seconds = seconds
            verdict.seconds = time.monotonic() - start
            if verdict.how == "survived":
                verdict.message = " ".join(filter(None, (doubt, verdict.message)))
            if verdict.how != "killed" or watch.program not in programs:
                return verdict, watch
            for _ in range(AGAIN):
                again, _ = self.run(number, [watch.program], group, environment=soon)
                if again.how != "survived":
                    return verdict, watch
            doubt = f"{verdict.by} failed once, and not again: {verdict.message}"
            seconds[watch.program] = 0.0
            programs = programs[programs.index(watch.program) + 1:]
            if not programs:
                return Verdict("survived", message=doubt), watch

    def run(self, number, programs, group=None, **options):
        """Runs programs, or single tests as program:test, on a mutant in a guest, one after the
        other until one fails.
        """
        others = set(self.programs) - {name.partition(":")[0] for name in programs}
        tries = " &&\n".join("try {} ./{} {} {}".format(name, *(name.partition(":")[0],
                             *(("-r", name.partition(":")[2]) if ":" in name else ("", ""))))
                             for name in programs)
        return self.follow(number, f"""try() {{ echo "== $1"; shift; "$@" || [ $? -eq 4 ]; }}
{tries} && echo '== '
""", group=group, without=sorted(others), **options)

    def follow(self, number, command, **options):
        """The verdict on a mutant of a command that says what it runs."""
        watch = Watch()
        try:
            outcome = self.boot(
                number, f"while sleep {BEAT}; do echo {ALIVE}; done &\n"
                        f"cd io_uring\n{{\n{command}\n}} 2>&1",
                on_line=watch, limit=LIMIT, quiet=DEAD, **options)
        except Noticed:
            return watch.verdict("killed"), watch
        except Wedged:
            return watch.verdict("wedged"), watch
        if outcome.ended == "finished" and outcome.status == 0:
            return Verdict("survived", message=" ".join(outcome.splats[:1])), watch
        if outcome.ended == "hung" and watch.failed():
            return watch.verdict("killed"), watch
        if outcome.ended == "finished":
            return Verdict("killed", f"{watch.program}: {watch.test}",
                           f"it ended with {outcome.status}"), watch
        why = f"{outcome.ended}: " + " ".join(outcome.splats[:1] or outcome.log.split("\n")[-2:])
        return Verdict("crashed", f"{watch.program}: {watch.test}", why), watch


def touches(edit, text, line):
    return line in (text.count("\n", 0, place) + 1 for place in (edit.begin, edit.end))


def places(log):
    """(file, line) of what the compiler calls an error."""
    error, found = False, set()
    for line in log.splitlines():
        if said := SAID.search(line):
            error = said[1] == "error"
        if error and (place := PLACE.search(line)):
            found.add((place[1], int(place[2])))
    return found


def suspects(edits, texts, log):
    """By line with an error, the edits of it."""
    return {(file, line): [edit for edit in edits
                           if edit.file == file and touches(edit, texts[file], line)]
            for file, line in places(log)}


def sift(edits, texts, compiled):
    """Those of the edits that compile, all together: compiled(edits) is what the compiler says.

    Of a line with an error, each edit is tried without the line's others, many lines at a time.
    """
    bad = {}
    while log := compiled([edit for edit in edits if edit not in bad]):
        more = {edit: place for place, found in suspects(edits, texts, log).items()
                for edit in found if edit not in bad}
        if not more:
            raise build.BadInput(f"what does not compile is no mutant: {log.strip()[-500:]}")
        bad |= more
    guilty = set()
    by_line = [[edit for edit, its in bad.items() if its == place] for place in set(bad.values())]
    for turn in range(max(map(len, by_line), default=0)):
        tried = {line[turn] for line in by_line if turn < len(line)}
        log = compiled([edit for edit in edits if edit not in bad or edit in tried])
        wrong = suspects(tried, texts, log).values()
        guilty |= {edit for found in wrong for edit in found}
    return [edit for edit in edits if edit not in guilty]


def make(name, machine, mutants):
    """A kernel with all mutants of the list, and all by rule that compile."""
    read = schema.reader(build.source())
    numbers = dict(enumerate(rules.generate(build.source() / "io_uring", schema.functions), FIRST))
    texts = {file: read(file) for file in rules.SCOPE}
    source = build.digest(machine.fragment(), texts, schema.cured(schema.cures().values(), read))
    key = build.digest(source, numbers)
    compiling = build.home(name) / "compiling"

    def changed(some):
        return schema.apply(mutants, [(number, edit) for number, edit in numbers.items()
                                      if edit in some], read)

    if not compiling.exists() or compiling.read_text().split()[0] != key:
        good = set(sift(list(numbers.values()), texts,
                        lambda some: build.complaints(name, machine, changed(set(some)))))
        compiling.write_text(" ".join([key, *(str(number) for number, edit in numbers.items()
                                              if edit in good)]))
    chosen = {number: numbers[number] for number in map(int, compiling.read_text().split()[1:])}
    image = build.build(name, machine, changed(set(chosen.values())))
    # One of our own: somebody else may build the kernel anew.
    place = tempfile.TemporaryDirectory(prefix="kernel.")
    kernel = Path(shutil.copy(image, place.name))
    tree = userland.built_tree("amd64")
    # Those that fail though all that no release mends is cured can tell no mutant.
    failing = judge.unsteady(judge.release(f"{build.version(build.source())}-cured"))
    programs = sorted(path.name for path in (tree / "io_uring").glob("*_test")
                      if path.name not in failing)
    return Arena(place, kernel, source, tree, programs, chosen, list(numbers.values()))
