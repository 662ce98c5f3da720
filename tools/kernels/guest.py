# SPDX-License-Identifier: GPL-2.0
"""Boots a kernel with an installed kselftest tree, and brings back what it said.

The kernel is an image for QEMU, or an executable of User Mode Linux; which, its
first bytes tell.  The guest lives in an initramfs of busybox, the tree and init.  It
has three serial lines: the kernel's log, KTAP, and a tar of /out, which a command
may fill with files to bring back.
"""
import contextlib
import fcntl
import functools
import os
import re
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence

from archive import BadInput, cached, offers

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent
BUILD = TOOLS.parent / "build"
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


@dataclass(frozen=True)
class Machine:
    """What QEMU is to emulate, and where the guest finds its three lines: log, KTAP, files.

    The PC has three serial lines; elsewhere, @ports are two consoles of a virtio device so named.
    """
    program: str
    model: str
    lines: tuple
    cpu: str = "max"
    ports: str = ""


PC = Machine("qemu-system-x86_64", "q35", ("ttyS0", "ttyS1", "ttyS2"))
MACHINES = {
    "amd64": PC,
    "i386": PC,     # programs of 32 bit on the kernel of amd64
    "arm64": Machine("qemu-system-aarch64", "virt", ("ttyAMA0", "hvc0", "hvc1"),
                     ports="virtio-serial-pci"),
    "armhf": Machine("qemu-system-arm", "virt", ("ttyAMA0", "hvc0", "hvc1"),
                     ports="virtio-serial-pci"),
    "ppc64el": Machine("qemu-system-ppc64", "pseries", ("hvc0", "hvc1", "hvc2"),
                       ports="virtio-serial-pci"),
    "riscv64": Machine("qemu-system-riscv64", "virt", ("ttyS0", "hvc0", "hvc1"),
                       cpu="rv64", ports="virtio-serial-pci"),
    "s390x": Machine("qemu-system-s390x", "s390-ccw-virtio",
                     ("ttysclp0", "hvc0", "hvc1"), ports="virtio-serial-ccw"),
}
# How the images begin that these can load: what is where.
IMAGES = ((0, b"\x7fELF"), (0x202, b"HdrS"), (0x38, b"ARMd"), (0x38, b"RSC\x05"),
          (0x24, b"\x18\x28\x6f\x01"), (8, b"\x02\x00\x00\x18\x60\x00\x00\x50"))


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


def is_uml(kernel: Path) -> bool:
    """Whether this ELF file is a program: one for user addresses, not the kernel's."""
    with open(kernel, "rb") as file:
        head = file.read(0x10000)
    if head[:4] != b"\x7fELF" or head[4] != 2:
        return False
    offset, = struct.unpack_from("<Q", head, 0x20)
    size, count = struct.unpack_from("<HH", head, 0x36)
    loads = [struct.unpack_from("<IIQQ", head, offset + i * size) for i in range(count)]
    return all(vaddr < 1 << 47 for kind, _, _, vaddr in loads if kind == 1)


def check_image(kernel: Path) -> None:
    try:
        with open(kernel, "rb") as file:
            head = file.read(0x210)
    except OSError as error:
        raise BadInput(f"{kernel}: {error.strerror}") from None
    if not any(head[at:].startswith(magic) for at, magic in IMAGES):
        raise BadInput(f"{kernel} is no kernel image")


def make_initramfs(to: Path, tree: Path, command: str, environment: Mapping[str, str],
                   shell: Path, extra: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        root = Path(name)
        root.chmod(0o755)
        for directory in extra:
            shutil.copytree(directory, root, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(tree, root / "tree", symlinks=True)
        (root / "bin").mkdir(exist_ok=True)
        shutil.copy(shell, root / "bin/busybox")
        (root / "bin/sh").symlink_to("busybox")
        for script in "init", "side-by-side":
            shutil.copy(HERE / script, root)
        exports = "".join(f"export {name}='{value}'\n" for name, value in environment.items())
        (root / "command").write_text(f"{exports}{command}\n")
        with open(to, "wb") as archive:
            subprocess.run("find . | cpio --quiet -o -H newc -R 0:0 -C 65536", shell=True, cwd=root,
                           stdout=archive, check=True)


def built_tree(arch: str) -> Path:
    """This selftest, built for @arch."""
    tree = BUILD / f"tree-{arch}"
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run([TOOLS / "cross/tree", arch, tree], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise BadInput(f"cannot build the selftest for {arch}:\n{made.stdout.rstrip()}")
    return tree


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


def busybox(arch: str) -> Path:
    """A static one of @arch: this machine's, or the archive's oldest."""
    if MACHINES[arch] is PC:
        return Path(shutil.which("busybox") or "/busybox")
    package, version = offers("^busybox-static$", arch)[0]
    return cached(f"{package}={version}", arch, "./bin/busybox", "./usr/bin/busybox")


def companions(arch: str) -> list:
    """CRIU and ps(1) for boot() as @extra, if they can be had; else the tests say so."""
    fetched = subprocess.run([TOOLS / "companions/fetch", arch], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    return [Path(fetched.stdout.strip())] if fetched.returncode == 0 else []


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


def command_line(kernel, initrd, arch, accel, cpus, memory, cmdline, channels):
    fds = [channels.write[name] for name in ("log", "ktap", "files")]
    machine = PC if is_uml(kernel) else MACHINES[arch]
    log, ktap, files = machine.lines
    append = f"console={log} loglevel=5 panic=-1 ktap={ktap} files={files} {cmdline}"
    if is_uml(kernel):
        return [kernel, f"mem={memory}M", f"ncpus={cpus}", f"initrd={initrd}", "con=null",
                # Without, it has one CPU.
                "seccomp=auto",
                *(f"ssl{number}=null,fd:{fd}" for number, fd in enumerate(fds)),
                *append.split(), "finish=poweroff"]
    argv = [machine.program, "-accel", accel, "-M", machine.model,
            "-cpu", "host" if accel == "kvm" else machine.cpu,
            "-smp", str(cpus), "-m", f"{memory}M", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
            "-append", f"{append} finish=reboot"]
    if machine.ports:
        argv += ["-device", machine.ports]
    for number, fd in enumerate(fds):
        if machine.ports and number:
            argv += ["-chardev", f"file,id=line{number},path=/dev/fd/{fd}",
                     "-device", f"virtconsole,chardev=line{number}"]
        else:
            argv += ["-serial", f"file:/dev/fd/{fd}"]
    return argv


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
              memory: int = 512, cmdline: str = "", limit: float = 900, quiet: float = 900,
              extra: Sequence[Path] = (), out: Optional[Path] = None, accel: str = "",
              on_line: Optional[Callable[[str], None]] = None,
              group: Optional[Group] = None) -> Outcome:
    """Runs @command in @tree under @kernel; the guest is gone when this returns.

    @extra: directories to merge into the guest's root.  @out receives what the
    guest has put into /out.  @on_line gets each line of KTAP as it comes.  Who says nothing
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
        make_initramfs(scratch / "initrd", tree, command, environment, busybox(arch), extra)
        argv = command_line(kernel, scratch / "initrd", arch, accel, cpus, memory, cmdline,
                            channels)
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
