# SPDX-License-Identifier: GPL-2.0
"""Builds tests of a liburing tree, to be run in a guest beside ours."""
import os
import re
import shutil
import subprocess

from guest import BadInput

# The test that is the forerunner of ours.
FORERUNNER = "io-wq-unused-exit"


def build(source, scratch, tests):
    """A directory in @scratch for guest.boot() to merge into the guest's root: the
    programs @tests, or all if that is empty, in /liburing, and their libraries.
    """
    tree, root = scratch / "liburing", scratch / "root"
    if not (source / f"test/{FORERUNNER}.c").exists():
        raise BadInput(f"{source} is no tree of liburing with a test/{FORERUNNER}.c")
    shutil.copytree(source, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
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
