# SPDX-License-Identifier: GPL-2.0
"""Names of kernels, and their images: files, or out of the distribution's archive.

A name is a series (7.2: its newest), a version (6.18.9 or 6.18.9-1~bpo13+1), each
for the cloud flavour unless -rt or -generic follows, or the path of an image.
"""
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from archive import BadInput, cached, offers
from guest import check_image

# linux-image-6.12.107+deb13-cloud-amd64, linux-binary-7.3.4+deb13-amd64, ...
PACKAGE = re.compile(r"linux-(image|binary)-[0-9][^-]*(?:-[0-9]+)?-(?:(cloud|rt)-)?[a-z0-9]+"
                     r"(-unsigned)?")
FLAVOURS = "cloud", "rt", "generic"


@dataclass(frozen=True)
class Kernel:
    name: str
    version: str = ""                # of the kernel, 6.18.9; of a file, nobody knows yet
    package: str = ""                # as apt calls it, package=version
    path: Optional[Path] = None

    def image(self, arch: str = "amd64") -> Path:
        """The path of the image, downloaded if need be; whole, or not there."""
        return self.path or cached(self.package, arch, "./boot/vmlinuz-*",
                                   "./usr/lib/modules/*/vmlinuz")


def numbers(version: str) -> tuple:
    return tuple(int(number) for number in re.findall(r"\d+", version))


@functools.lru_cache(maxsize=None)
def offered(arch: str) -> dict:
    """What the archive has: (Debian's version, flavour) -> package, oldest first."""
    found = {}
    for package, version in offers(f"^linux-(image|binary)-[0-9].*{arch}(-unsigned)?$", arch):
        if not (match := PACKAGE.fullmatch(package)):
            continue
        key = version, match[2] or "generic"
        # Of newer kernels, linux-image is a shell around linux-binary.
        rank = match[1] == "binary", not match[3]
        found[key] = max(found.get(key, ((), "")), (rank, f"{package}={version}"))
    return {key: package for key, (_, package) in
            sorted(found.items(), key=lambda item: numbers(item[0][0]))}


def find(name: str, arch: str = "amd64") -> Kernel:
    """The kernel of that name, without downloading it."""
    if "/" in name or os.path.exists(name):
        check_image(Path(name))
        return Kernel(name, path=Path(name).resolve())
    wanted, _, flavour = name.rpartition("-")
    if flavour not in FLAVOURS:
        wanted, flavour = name, "cloud"
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?(-\S+)?", wanted):
        raise BadInput(f"{name} is neither a series, as 7.2, nor a version, nor a file")
    for (version, its_flavour), package in reversed(offered(arch).items()):
        upstream = version.partition("-")[0]
        if its_flavour == flavour and (wanted in (version, upstream)
                                       or upstream.startswith(f"{wanted}.")):
            return Kernel(name, upstream, package)
    raise BadInput(f"the archive has no kernel {name} for {arch}")
