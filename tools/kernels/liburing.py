# SPDX-License-Identifier: GPL-2.0
"""Builds tests of a liburing tree, to be run in a guest beside ours."""
import os
import re
import shutil
import subprocess
from pathlib import Path

from archive import BadInput

OURS = Path(__file__).resolve().parents[1] / "upstream/liburing"
# The test that is the forerunner of ours.
FORERUNNER = "io-wq-unused-exit"


def series():
    """Our tests in their order, with the mutant on which each fails, or an empty string."""
    lines = [line.split() for line in (OURS / "series").read_text().splitlines()]
    return {name: "".join(mutant) for name, *mutant in lines if name != "#"}


def add_ours(tree):
    """Unless it has them."""
    if all((tree / f"test/{test}.c").exists() for test in series()):
        return
    for test in series():
        if (OURS / f"{test}.c").exists():
            shutil.copy(OURS / f"{test}.c", tree / "test")
        elif subprocess.run(["patch", "-s", "-N", "-p1", "-i", OURS / f"{test}.patch"],
                            cwd=tree).returncode:
            raise BadInput(f"{test}.patch does not apply to liburing")


def build(source, scratch, tests):
    """A directory in @scratch for guest.boot() to merge into the guest's root: the
    programs @tests of ours, or if that is empty all of liburing's, in /liburing, and
    their libraries.
    """
    tree, root = scratch / "liburing", scratch / "root"
    if not (source / f"test/{FORERUNNER}.c").exists():
        raise BadInput(f"{source} is no tree of liburing with a test/{FORERUNNER}.c")
    shutil.copytree(source, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    if tests:
        add_ours(tree)
    goals = " ".join(f"{test}.t" for test in tests) or "all"
    made = subprocess.run(
        f"./configure --cc='ccache cc' && make -C src ENABLE_SHARED=0 && "
        f"make -C test -k -j{len(os.sched_getaffinity(0))} {goals}",
        shell=True, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    programs = sorted((tree / "test").glob("*.t"))
    if not programs:
        raise BadInput(f"{source} does not build: {made.stdout.strip().splitlines()[-1]}")
    (root / "liburing").mkdir(parents=True)
    for program in programs:
        shutil.copy(program, root / "liburing")
    said = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, text=True)
    for library in set(re.findall(r"(/\S+) \(0x", said.stdout)):
        to = root / library[1:]
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, to)
    return root


# Runs those in the guest, each but for a minute, and says what each ended with.
RUN = ("cd /tmp; for t in /liburing/*.t; do [ ! -x $t ] || { timeout 60 $t >/dev/null 2>&1; "
       "echo liburing: $(basename $t .t) $?; }; done")


def verdicts(said):
    """What RUN said: test -> passed, skipped or failed."""
    return {test: {"0": "passed", "77": "skipped"}.get(status, "failed")
            for test, status in re.findall(r"^liburing: (\S+) (\d+)$", said, re.MULTILINE)}
