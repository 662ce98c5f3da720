# SPDX-License-Identifier: GPL-2.0
"""What was judged of each kernel before, by commit, and what has changed since."""
import json
import subprocess
import time
from pathlib import Path

from archive import CACHE

FILE = CACHE / "history.json"


def commit() -> str:
    """The commit of this project, with + if the tree has changes; empty without git."""
    described = subprocess.run(["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
                               cwd=Path(__file__).parent, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return described.stdout.strip()


def verdicts(run) -> dict:
    return {test.name: test.verdict for program in run.judgement.programs
            for test in program.tests}


def keep(runs) -> list:
    """Adds these runs to the history.  Lines that say what is other than the last time."""
    history = json.loads(FILE.read_text()) if FILE.exists() else {}
    lines = []
    for run in runs:
        now = verdicts(run)
        past = history.setdefault(run.title, [])
        if past:
            lines += compare(run.title, past[-1], now)
        past.append({"commit": commit(), "date": time.strftime("%Y-%m-%d"), "seconds": round(run.outcome.seconds), "tests": now})
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(history, indent=1))
    return lines


def compare(title: str, last: dict, now: dict) -> list:
    before = last["tests"]
    since = f"since {last['commit'] or 'an unknown commit'} of {last['date']}"
    lines = [f"changed: {title}: {name} {before[name]} -> {verdict}, {since}"
             for name, verdict in now.items() if before.get(name, verdict) != verdict]
    for what, names in (("new", set(now) - set(before)), ("gone", set(before) - set(now))):
        if names:
            lines.append(f"changed: {title}: {len(names)} tests are {what}, {since}")
    return lines
