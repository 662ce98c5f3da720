# SPDX-License-Identifier: GPL-2.0
"""Follows what the selftest's programs say, and knows which test failed first, and why."""
import re
import time
from dataclasses import dataclass

import results

PROGRAM = re.compile(r"== (\S*)")
# What the guest says now and then, for as long as it lives.
ALIVE = "guest: alive"
# Longer than any test may take, in seconds: the program will not end by itself.
SILENCE = 200
# The same for one that has failed: its process cannot even be killed.
LAST_WORDS = 20
NOT_OK = re.compile(r"not ok \d+ (\S+)")


class Noticed(Exception):
    """A test failed: the guest has done its duty."""


class Wedged(Exception):
    """A program does not end, though its guest lives."""


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
        self.last = time.monotonic()    # that a program said something
        self.seconds = {}       # that each program took

    def __call__(self, line):
        if line == ALIVE:
            silent = time.monotonic() - self.last
            if self.failed() and silent > LAST_WORDS:
                raise Noticed
            if silent > SILENCE:
                raise Wedged
            return
        self.last = time.monotonic()
        if match := PROGRAM.fullmatch(line):
            now = time.monotonic()
            self.seconds[self.program] = now - self.since
            self.program, self.since = match[1], now
        elif " RUN " in line:
            self.said = []
            self.test = line.split()[-2]
        elif match := NOT_OK.match(line):
            self.test = match[1]
            raise Noticed
        else:
            self.said.append(line)

    def failed(self):
        return any(":Expected " in line for line in self.said)

    def verdict(self, how):
        return Verdict(how, f"{self.program}: {self.test}", results.complaint(self.said))
