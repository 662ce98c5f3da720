# SPDX-License-Identifier: GPL-2.0
"""What runs in a guest: the selftest, built for it, busybox, and what tests use besides."""
import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

from archive import BadInput, cached, offers
from machine import MACHINES, PC

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent
BUILD = TOOLS.parent / "build"


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


def make_initramfs(to: Path, tree: Path, command: str, environment: Mapping[str, str],
                   shell: Path, extra: Sequence[Path], without: Sequence[str] = ()) -> None:
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        root = Path(name)
        root.chmod(0o755)
        for directory in extra:
            shutil.copytree(directory, root, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(tree, root / "tree", symlinks=True,
                        ignore=shutil.ignore_patterns(*without))
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
