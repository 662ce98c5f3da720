# SPDX-License-Identifier: GPL-2.0
"""Files out of the distribution's packages, kept in the user's cache."""
import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "io_uring-selftest"
KEPT = CACHE / "kernels"
ARCHIVE = Path(__file__).resolve().parents[1] / "archive/archive"


class BadInput(Exception):
    """What was asked for cannot be had; one line says why."""


def offers(pattern: str, arch: str) -> list:
    """The (package, version) whose names match, oldest first."""
    listing = subprocess.run([ARCHIVE, "-a", arch, "list", pattern], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if listing.returncode:
        raise BadInput(f"cannot look up {pattern} in the archive for {arch}: "
                       + listing.stderr.strip().rpartition("\n")[2])
    return [tuple(line.split()) for line in listing.stdout.splitlines()]


@contextlib.contextmanager
def downloaded(package: str, arch: str, name: str):
    """A directory with the one .deb of a package=version, whose signature apt has checked."""
    # If it is interrupted, apt goes on with what it finds there.
    scratch = KEPT / "partial" / name
    scratch.mkdir(parents=True, exist_ok=True)
    got = subprocess.run([ARCHIVE, "-a", arch, "get", package], cwd=scratch, text=True,
                         stderr=subprocess.PIPE)
    if got.returncode:
        raise BadInput(f"cannot download {package}: "
                       + got.stderr.strip().rpartition("\n")[2])
    yield scratch
    shutil.rmtree(scratch)


def unpack(scratch: Path, *options, stdout=None):
    """Extracts what tar's options name of the one .deb there; that may be nothing."""
    deb, = scratch.glob("*.deb")
    data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "--wildcards", *options], stdin=data.stdout, stdout=stdout,
                   stderr=subprocess.DEVNULL)
    data.wait()


@contextlib.contextmanager
def alone():
    """The one who changes the cache."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with open(KEPT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(package: str, arch: str, *members: str) -> Path:
    """The one file of a package=version that matches."""
    path = KEPT / f"{package.replace('=', '_')}_{arch}"
    with alone():
        if path.exists():
            return path
        with downloaded(package, arch, path.name) as scratch:
            with open(scratch / "file", "wb") as file:
                unpack(scratch, "-O", *members, stdout=file)
            if not os.path.getsize(file.name):
                raise BadInput(f"{package} has none of {' '.join(members)}")
            os.chmod(file.name, 0o755)
            os.replace(file.name, path)
    return path


def cached_tree(package: str, arch: str, name: str, *members: str) -> Path:
    """A directory with the files of a package=version that match; maybe with none."""
    path = KEPT / f"{name}_{package.replace('=', '_')}_{arch}"
    with alone():
        if path.exists():
            return path
        with downloaded(package, arch, path.name) as scratch:
            tree = scratch / "tree"
            # It may be left of one that was interrupted.
            tree.mkdir(exist_ok=True)
            unpack(scratch, "-C", tree, *members)
            os.replace(tree, path)
    return path
