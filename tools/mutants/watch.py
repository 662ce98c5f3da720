# SPDX-License-Identifier: GPL-2.0
"""Follows what the selftest's programs say, and knows which test failed first, and why."""
import re
import time
from dataclasses import dataclass

PROGRAM = re.compile(r"== (\w*)")
NOT_OK = re.compile(r"not ok \d+ (\S+)")
# What the harness and the tests say: file:line:test:text, or how a test ended.
SAID = re.compile(r"#\s+(?:\w+\.[ch]pp:\d+:\w+:(.*)|\w+: (Test .*))")


class Noticed(Exception):
    """A test failed: the guest has done its duty."""


@dataclass
class Verdict:
    how: str
    by: str = ""
    message: str = ""
    seconds: float = 0.0


class Watch:
    """Follows the programs' output: a line of == and its name before each, and == at the end."""

    def __init__(self):
        self.program = self.test = ""
        self.said = []
        self.since = 0.0
        self.seconds = {}       # that each program took

    def __call__(self, line):
        if match := PROGRAM.fullmatch(line):
            now = time.monotonic()
            self.seconds[self.program] = now - self.since
            self.program, self.since = match[1], now
        elif " RUN " in line:
            self.said = []
            self.test = line.split()[-2]
        elif match := SAID.match(line):
            self.said.append(match[1] or match[2])
        elif match := NOT_OK.match(line):
            self.test = match[1]
            raise Noticed

    def complaint(self):
        """What the failing test said; its own words rather than the comparison."""
        for number, text in enumerate(self.said):
            if text.startswith("Expected "):
                own = [said for said in self.said[number + 1:number + 2]
                       if not said.startswith(("Expected ", "Test "))]
                return (own or [text])[0]
        return self.said[-1] if self.said else ""

    def failed(self):
        return any(text.startswith("Expected ") for text in self.said)

    def verdict(self, how):
        return Verdict(how, f"{self.program}: {self.test}", self.complaint())
