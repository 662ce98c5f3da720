# SPDX-License-Identifier: GPL-2.0
"""What long work is at, how far it is, and how long it takes; on standard error."""
import shutil
import sys
import threading
import time


class Progress:
    """Lines, or on a terminal one line; from any thread."""

    def __init__(self, count: int):
        self.count, self.done, self.start = count, 0, time.monotonic()
        self.lock = threading.Lock()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self.start
        left = f", about {elapsed / self.done * (self.count - self.done):.0f} s to go" \
            if 0 < self.done < self.count else ""
        line = f"[{self.done}/{self.count} done, {elapsed:.0f} s{left}] {text}"
        with self.lock:
            if sys.stderr.isatty():
                self._replace(line)
            else:
                print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Before something else is printed: takes the one line away again."""
        with self.lock:
            if sys.stderr.isatty():
                self._replace("")

    def _replace(self, line):
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width].ljust(width)}\r", end="", file=sys.stderr, flush=True)
