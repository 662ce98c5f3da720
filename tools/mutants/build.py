# SPDX-License-Identifier: GPL-2.0
"""Builds kernels with an io_uring of our own making, and keeps them.

A kernel lives in the user's cache, made anew only if its source, its configuration
or its io_uring changed, and then as little of it as make can.
"""
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(TOP / "tools/kernels"))

from archive import CACHE, BadInput


@dataclass(frozen=True)
class Machine:
    """What a kernel is for: make's ARCH, what configures it besides, and its image."""
    arch: str
    config: str
    image: str

    def fragment(self):
        return "".join(path.read_text() for path in (HERE / "common.config", TOP / "config",
                                                     HERE / self.config))


UML = Machine("um", "uml.config", "linux")
PC = Machine("x86_64", "pc.config", "arch/x86/boot/bzImage")


def source():
    """A kernel source: the tree KSRC, or Debian's newest."""
    if ksrc := os.environ.get("KSRC"):
        if not Path(ksrc, "io_uring/io-wq.c").exists():
            raise BadInput(f"{ksrc} is no kernel tree: it has no io_uring/io-wq.c")
        return Path(ksrc).resolve()
    found = subprocess.run([TOP / "tools/kernels/source"], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise BadInput("no kernel source")
    return Path(found.stdout.strip())


def version(linux):
    """7.3.4, by the Makefile of a kernel source."""
    return ".".join(re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$",
                               (linux / "Makefile").read_text(), re.MULTILINE))


def write(path, text):
    """Leaves a file alone that has this text already, for make to see."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def last_words(fragment):
    """The lines that set or unset an option, but for those that a later one overrules."""
    settings = re.finditer(r"^(?:# )?(CONFIG_\w+)(?:=.*| is not set)$", fragment, re.MULTILINE)
    return {setting[1]: setting[0] for setting in settings}.values()


def lay_out(tree, linux, texts, copied=False):
    """A tree of links into @linux, but for io_uring: a copy, and for @texts, by their path."""
    tree.mkdir(parents=True, exist_ok=True)
    for entry in linux.iterdir():
        mine = tree / entry.name
        below = {path.partition("/")[2]: text for path, text in texts.items()
                 if path.startswith(f"{entry.name}/")}
        # What was a copy once stays one: its time tells make of the next change.
        own = mine.exists() and not mine.is_symlink()
        ours = own or copied or below or entry.name in texts or entry.name == "io_uring"
        if ours and not own:
            mine.unlink(missing_ok=True)
        if ours and entry.is_dir():
            lay_out(mine, entry, below, entry.name == "io_uring")
        elif ours:
            write(mine, texts.get(entry.name) or entry.read_text())
        elif not mine.is_symlink() or mine.readlink() != entry:
            mine.unlink(missing_ok=True)
            mine.symlink_to(entry)


def home(name):
    """Where the kernel of this name is kept: its tree, out for what make makes, and log."""
    return CACHE / f"kernel-{name}"


@contextlib.contextmanager
def locked(place):
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*what):
    return hashlib.sha256(repr(what).encode()).hexdigest()


def make(place, machine, *arguments):
    """Runs make, which ends with us; whether it could, and what it said is in the log."""
    with open(place / "log", "wb") as log:
        return subprocess.run(
            ["setpriv", "--pdeathsig", "TERM", "make", "-C", place / "tree", f"O={place / 'out'}",
             f"ARCH={machine.arch}", "SUBARCH=x86_64", f"-j{len(os.sched_getaffinity(0))}",
             *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=environment()).returncode == 0


def prepare(place, linux, machine, fragment, changed):
    """Lays the tree out, and configures it if that was not done: tinyconfig with a fragment."""
    (place / "key").unlink(missing_ok=True)
    out, configured = place / "out", place / "configured"
    lay_out(place / "tree", linux, {os.path.normpath(f"io_uring/{file}"): text
                                    for file, text in changed.items()})
    if configured.exists() and configured.read_text() == digest(linux, machine, fragment):
        return
    configured.unlink(missing_ok=True)
    out.mkdir(exist_ok=True)
    if not make(place, machine, "tinyconfig"):
        raise BadInput(f"the kernel cannot be configured, see {place / 'log'}")
    with open(out / ".config", "a", encoding="ascii") as config:
        config.write(fragment)
    if not make(place, machine, "olddefconfig"):
        raise BadInput(f"the kernel cannot be configured, see {place / 'log'}")
    have = set((out / ".config").read_text().splitlines())
    for line in last_words(fragment):
        if line.startswith("CONFIG_") and line not in have:
            raise BadInput(f"{linux} cannot have {line}")
    configured.write_text(digest(linux, machine, fragment))


def build(name, machine, changed, extra=""):
    """The image of the kernel of this name: tinyconfig with what @machine wants, and the
    fragment @extra, and files of io_uring @changed.
    """
    linux, fragment, place = source(), machine.fragment() + extra, home(name)
    image, stamp = place / "out" / machine.image, place / "key"
    key = digest(linux, machine, fragment, sorted(changed.items()))
    with locked(place):
        if stamp.exists() and stamp.read_text() == key:
            return image
        print(f"{name}: building the kernel from {linux}, in minutes", file=sys.stderr)
        prepare(place, linux, machine, fragment, changed)
        if not make(place, machine, image.name):
            raise BadInput(f"the kernel does not build, see {place / 'log'}")
        stamp.write_text(key)
    return image


def complaints(name, machine, changed):
    """What the compiler says of files of io_uring, if it cannot compile all of them."""
    place = home(name)
    objects = (f"io_uring/{file.removesuffix('.c')}.o" for file in changed
               if file.endswith(".c"))
    with locked(place):
        prepare(place, source(), machine, machine.fragment(), changed)
        return "" if make(place, machine, "-k", *objects) else (place / "log").read_text()


def environment():
    """This one, with ccache before compilers, and without a calling make's variables."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("MAKE", "MFLAGS", "KBUILD", "CCACHE"))}
    if shutil.which("ccache"):
        env |= {"PATH": f"/usr/lib/ccache:{env['PATH']}", "CCACHE_BASEDIR": "/",
                "CCACHE_NOHASHDIR": "1"}
    return env
