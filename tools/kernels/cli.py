# SPDX-License-Identifier: GPL-2.0
"""How each command of these tools begins and ends."""
import signal
import sys

from archive import BadInput


def stop_tidily():
    """From now on, what asks the program to end does so as ^C, and not amid its tidying up."""
    asking = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) != signal.SIG_IGN]

    def stop(*_):
        for number in asking:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in asking:
        signal.signal(number, stop)


def run(name: str, main, *args) -> None:
    """Ends the program with what main(*args) returns, 2 for bad input, 130 for ^C."""
    stop_tidily()
    try:
        sys.exit(main(*args))
    except BadInput as why:
        print(f"{name}: {why}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
