# SPDX-License-Identifier: GPL-2.0
"""Whether a kernel's results are those that expectations.toml has one expect."""
import re
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import results

TABLE = tomllib.loads((Path(__file__).resolve().parent / "expectations.toml").read_text())


@dataclass
class Judgement:
    programs: list
    unexpected: dict = field(default_factory=dict)  # test -> what is
    findings: dict = field(default_factory=dict)    # test -> what it says of the kernel


def release(text: str) -> tuple:
    """(7, 3, 4) of 7.3.4+deb13-cloud-amd64; of Debian's 6.1.0-50-amd64, what uname -v adds.

    (7, 3, 4, "cured") of 7.3.4-cured, which has the cures of tools/mutants; and "32-bit" comes
    last if uname -m follows, and is of such a machine.
    """
    match = re.search(r"Debian (\d+\.\d+[.\d]*)", text) or re.match(r"(\d+\.\d+[.\d]*)", text)
    if not match:
        raise ValueError(f"no version of a kernel: {text}")
    numbers = [int(number) for number in match[1].rstrip(".").split(".")]
    return (tuple((numbers + [0])[:3]) + ("cured",) * ("-cured" in text)
            + ("32-bit",) * bool(re.search(r" (arm|armv\dl|i[3-6]86)$", text)))


def reached(version: tuple, firsts: list) -> bool:
    firsts = [release(first) for first in firsts]
    return version[:2] > max(firsts, default=(1 << 30,))[:2] or any(
        version[:2] == first[:2] and version >= first for first in firsts)


def fixed_in(bug: dict) -> str:
    """The first releases without the bug, for people."""
    return ", ".join(bug["fixed"]) or "no release so far"


def lacks(kernel: str, demand: str) -> bool:
    """Whether the kernel lacks the promise that this variable of the environment demands."""
    return any(promise.get("required_by") == demand and not reached(release(kernel), promise["since"])
               for promise in TABLE["promise"])


def matches(test: results.Test, patterns: list) -> bool:
    return any(fnmatchcase(test.name, pattern) or fnmatchcase(test.name, pattern.partition(":")[0])
               for pattern in patterns)


def bugs_of(version: tuple) -> list:
    return [bug for bug in TABLE["bug"]
            if reached(version, bug["since"]) and not reached(version, bug["fixed"])
            and (bug["fixed"] or "cured" not in version)
            and ("32-bit" in version or bug.get("bits") != 32)]


def explains(kernel: str, test: str) -> bool:
    """Whether liburing's @test fails for a bug that the kernel is known to have."""
    return any(test == bug.get("liburing") for bug in bugs_of(release(kernel)))


def unsteady(version: tuple) -> list:
    """The programs of which a test may fail on this kernel, for a bug that it has."""
    return sorted({test.partition(":")[0] for bug in bugs_of(version) for test in bug["tests"]})


def unknown(splats: list, kernel: str) -> list:
    """Those that no bug of the kernel is known for."""
    known = [bug["splat"] for bug in bugs_of(release(kernel)) if "splat" in bug]
    return [line for line in splats if not any(re.search(splat, line) for splat in known)]


def judge(ktap: str, kernel: str, required=(), stamps=()) -> Judgement:
    """@required: the promises, by their variable of the environment, that were demanded."""
    version = release(kernel)
    missing = [promise for promise in TABLE["promise"] if not reached(version, promise["since"])]
    bugs = bugs_of(version)
    judgement = Judgement(results.parse(ktap, stamps))
    if not any(program.tests for program in judgement.programs):
        judgement.unexpected["selftest"] = "no test ran"
    for program in judgement.programs:
        for test in program.tests:
            judge_test(judgement, test, missing, bugs, required)
    return judgement


def judge_test(judgement, test, missing, bugs, required):
    def unexpected(why):
        judgement.unexpected[test.name] = f"{test.verdict}{why}"

    bugs = [bug for bug in bugs if matches(test, bug["tests"])]
    demanded = [promise for promise in missing if promise.get("required_by") in required]
    shows = [promise for promise in missing if matches(test, promise["shown_by"])]
    if test.verdict == "skipped":
        texts = [promise["skip"] for promise in missing if promise not in demanded]
        if test.reason not in texts + TABLE["surroundings"]:
            unexpected(f": {test.reason}")
    elif test.verdict == "passed":
        for promise in shows:
            unexpected(f", though the kernel does not promise: {promise['what']}")
        for bug in bugs:
            if not bug.get("sometimes"):
                unexpected(f", though the kernel has a bug: {bug['what']}")
    elif named := [bug for bug in bugs if bug["keeper"] in test.log]:
        for bug in named:
            judgement.findings[test.name] = (f"{test.verdict}: {bug['what']}, fixed in "
                                             + fixed_in(bug))
    elif bugs:
        unexpected(f", and its message does not name {bugs[0]['keeper']}")
    elif not any(promise in demanded for promise in missing):
        unexpected("")
