# SPDX-License-Identifier: GPL-2.0
"""The lines by which a guest speaks, read as it does."""
import os
import selectors


class Channels:
    """The guest's lines as they come: name -> bytes."""

    def __init__(self, names):
        self.data = {name: bytearray() for name in names}
        self.read, self.write = {}, {}
        self.selector = selectors.DefaultSelector()
        for name in names:
            self.read[name], self.write[name] = os.pipe()
            self.selector.register(self.read[name], selectors.EVENT_READ, name)

    def close_writers(self):
        while self.write:
            os.close(self.write.popitem()[1])

    def close(self):
        self.close_writers()
        self.selector.close()
        while self.read:
            os.close(self.read.popitem()[1])

    def poll(self, seconds):
        """The channels that got something or, as "", ended; none of them: time is up.

        None once all have ended.
        """
        if not self.selector.get_map():
            return None
        got = []
        for key, _ in self.selector.select(seconds):
            part = os.read(key.fd, 1 << 16)
            if part:
                self.data[key.data] += part
                got.append(key.data)
            else:
                self.selector.unregister(key.fd)
                got.append("")
        return got
