# SPDX-License-Identifier: GPL-2.0
"""Boots a kernel with an installed kselftest tree, and brings back what it said.

The kernel is an image for QEMU, or an executable of User Mode Linux; which, its
first bytes tell.  The guest lives in an initramfs of busybox, the tree and init.  It
has three serial lines: the kernel's log, KTAP, and a tar of /out, which a command
may fill with files to bring back.
"""
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence

from archive import BadInput
from channels import Channels
from machine import MACHINES, PC, check_image, command_line, is_uml
from userland import busybox, make_initramfs

SELFTEST = "./run_kselftest.sh -c io_uring"
# The same in less time (see there); CI and people who watch like it in order.
SIDE_BY_SIDE = "/side-by-side"

# What the kernel prints only when something is wrong with it.
SPLAT = re.compile(
    r"WARNING: |BUG: |Oops: |Oops\b.*\[#|kernel BUG at |general protection fault"
    r"|Unable to handle kernel |INFO: task .* blocked for more than"
    r"|INFO: rcu\w* .*(stall|detected)|rcu: INFO: |possible (circular|recursive) locking"
    r"|UBSAN: |KFENCE: |refcount_t: |Kernel panic - not syncing")
# Said of the machine that QEMU emulates, and of no test.
HARMLESS = re.compile(r"WARNING: .*(unsafe|mitigation|spec(ulative|tre)|old microcode)", re.I)
# QEMU 7.2 may, with several CPUs, emulate code that the guest has just patched as it was
# before: in one of 50 boots, the kernel meets a breakpoint that it has taken away again.
STALE_CODE = re.compile(r"int3: 0000 \[#")


@dataclass
class Outcome:
    ended: str = "died"             # or: finished, panicked, hung
    status: Optional[int] = None    # of the command
    accel: str = ""
    release: str = ""               # uname -r and -v of the guest
    ktap: str = ""
    stamps: list = field(default_factory=list)  # when each line of ktap came
    log: str = ""
    splats: list = field(default_factory=list)
    boot_seconds: Optional[float] = None
    seconds: float = 0.0


@functools.lru_cache(maxsize=None)
def accelerator(kernel: Path, arch: str) -> str:
    """KVM if a guest really boots with it: /dev/kvm may be there and yet not be able to."""
    slow = "tcg,thread=multi"
    host = {"x86_64": PC, "aarch64": MACHINES["arm64"]}.get(os.uname().machine)
    if MACHINES[arch] is not host or not os.access("/dev/kvm", os.W_OK):
        return slow
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "run_kselftest.sh").touch()
        probe = boot(kernel, empty, command="true", arch=arch, accel="kvm", limit=20)
    if probe.ended == "finished":
        return "kvm"
    why = (probe.log.strip().splitlines() or [probe.ended])[-1]
    print(f"guest: /dev/kvm cannot run this kernel ({why}): emulating instead", file=sys.stderr)
    return slow


class Group:
    """Guests in threads of a caller who may end them all, those too that are yet to start."""

    def __init__(self):
        self.guests = set()
        self.ended = False
        self.lock = threading.Lock()

    def add(self, guest) -> bool:
        with self.lock:
            self.guests.add(guest)
            return not self.ended

    def end(self):
        with self.lock:
            self.ended = True
            for guest in self.guests:
                end(guest)


def end(guest):
    # Once it was waited for, another process may have its number.
    if guest.returncode is None:
        # Another thread may be ending it just now.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guest.pid, signal.SIGKILL)
        guest.wait()


def boot(kernel, tree, **options) -> Outcome:
    """As boot_once(), and again if an emulated kernel came upon stale code, and so did not end."""
    for _ in range(3):
        outcome = boot_once(kernel, tree, **options)
        stale = outcome.accel.startswith("tcg") and STALE_CODE.search(outcome.log)
        if outcome.ended == "finished" or not stale:
            break
        print("guest: QEMU emulated stale code: booting once more", file=sys.stderr)
    return outcome


def boot_once(kernel, tree, *, command: str = SELFTEST,
              environment: Mapping[str, str] = {}, arch: str = "amd64", cpus: int = 2,
              memory: int = 0, cmdline: str = "", limit: float = 900, quiet: float = 900,
              extra: Sequence[Path] = (), without: Sequence[str] = (),
              out: Optional[Path] = None, accel: str = "",
              on_line: Optional[Callable[[str], None]] = None,
              group: Optional[Group] = None) -> Outcome:
    """Runs @command in @tree under @kernel; the guest is gone when this returns.

    @memory: in MB, or as much as the machine needs.  @extra: directories to merge into the
    guest's root.  @without: names in @tree that stay behind.  @out receives what the guest
    has put into /out.  @on_line gets each line of KTAP as it comes.  Who says nothing
    for @quiet seconds hung.  Who is in @group may be ended early: it died.
    """
    kernel, tree = Path(kernel).resolve(), Path(tree).resolve()
    check_image(kernel)
    if not is_uml(kernel) and not shutil.which(MACHINES[arch].program):
        raise BadInput(f"{MACHINES[arch].program} is not installed")
    if not (tree / "run_kselftest.sh").exists():
        raise BadInput(f"{tree} is no installed kselftest tree")

    environment = {"KSFT_DISTURB": "1", **environment}
    if not is_uml(kernel):
        accel = accel or accelerator(kernel, arch)
        if accel != "kvm":
            environment = {"KSFT_MACHINE_SLOW": "yes", **environment}
    outcome = Outcome(accel=accel or "uml")
    with tempfile.TemporaryDirectory(prefix="guest.") as name:
        scratch = Path(name)
        channels = Channels(("log", "ktap", "files"))
        make_initramfs(scratch / "initrd", tree, command, environment, busybox(arch), extra,
                       without)
        argv = command_line(kernel, scratch / "initrd", arch, accel, cpus,
                            memory or MACHINES[arch].memory, cmdline, channels)
        start = time.monotonic()
        # A caller that is killed takes the guest along.
        guest = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], cwd=scratch,
                                 stdin=subprocess.DEVNULL,
                                 stdout=channels.write["log"],
                                 stderr=channels.write["log"], start_new_session=True,
                                 pass_fds=channels.write.values())
        try:
            channels.close_writers()
            if not group or group.add(guest):
                listen(channels, outcome, start, limit, quiet, on_line)
        finally:
            end(guest)
            channels.close()
    outcome.seconds = time.monotonic() - start
    outcome.log = channels.data["log"].decode(errors="replace").replace("\r", "")
    outcome.splats = [line for line in outcome.log.splitlines()
                      if SPLAT.search(line) and not HARMLESS.search(line)]
    if outcome.status is None and "Kernel panic - not syncing" in outcome.log:
        outcome.ended = "panicked"
    if out and outcome.ended == "finished":
        Path(out).mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-x", "-C", out], input=channels.data["files"], check=True)
    return outcome


def listen(channels, outcome, start, limit, quiet, on_line):
    """Takes in all that the guest says, until it ends or time is up."""
    lines = []
    done = 0
    until = start + limit
    while (left := until - time.monotonic()) > 0:
        got = channels.poll(min(left, quiet))
        if got is None:
            break
        if not got:
            until = 0
        if "ktap" not in got:
            continue
        data = channels.data["ktap"]
        while (end := data.find(b"\n", done)) >= 0:
            line = data[done:end].decode(errors="replace").rstrip("\r")
            done = end + 1
            if match := re.fullmatch(r"guest: up (.*)", line):
                outcome.boot_seconds = time.monotonic() - start
                outcome.release = match[1]
                if on_line:
                    on_line(f"# Linux {match[1]}")
                continue
            # A command may have left its last line open.
            if match := re.fullmatch(r"(.*)guest: exit (\d+)", line):
                line = match[1]
                outcome.status = int(match[2])
                outcome.ended = "finished"
                # For the last words of its log; how it shuts down is no matter of ours.
                until = min(until, time.monotonic() + 10)
            if not match or line:
                lines.append(line)
                outcome.stamps.append(time.monotonic() - start)
                if on_line:
                    on_line(line)
    else:
        if outcome.status is None:
            outcome.ended = "hung"
    outcome.ktap = "".join(line + "\n" for line in lines)
