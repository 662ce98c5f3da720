# SPDX-License-Identifier: GPL-2.0
"""Names of kernels, and their images: files, or out of the distribution's archive.

A name is a series (7.2: its newest), a version (6.18.9 or 6.18.9-1~bpo13+1), each
of the architecture's first flavour below unless another one follows (7.3-rt), or the path
of an image.
"""
import functools
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import machine
import userland
from archive import BadInput, cached, cached_tree, offers

# Debian's flavours of an architecture's kernel, and how its packages call them.
FLAVOURS = {
    "amd64": {"cloud": "cloud-amd64", "generic": "amd64", "rt": "rt-amd64"},
    "arm64": {"cloud": "cloud-arm64", "generic": "arm64", "rt": "rt-arm64", "16k": "arm64-16k"},
    "armhf": {"generic": "armmp-lpae"},
    "ppc64el": {"generic": "powerpc64le", "64k": "powerpc64le-64k"},
    "riscv64": {"generic": "riscv64"},
    "s390x": {"generic": "s390x"},
}
# Whose kernel runs the programs of an architecture that has none of its own.
HOSTS = {"i386": "amd64"}
# What CRIU asks of a kernel that may have it as modules.
MODULES = ("inet_diag tcp_diag udp_diag raw_diag unix_diag af_packet_diag netlink_diag"
           " libcrc32c nfnetlink nf_tables").split()
# linux-image-6.12.107+deb13-cloud-amd64, linux-binary-7.3.4+deb13-amd64-unsigned, ...
PACKAGE = re.compile(r"linux-(image|binary)-[0-9][^-]*(?:-[0-9]+)?-(.+?)(-unsigned)?")


@dataclass(frozen=True)
class Kernel:
    name: str
    version: str = ""                # of the kernel, 6.18.9; of a file, nobody knows yet
    flavour: str = ""                # -rt, or nothing if it is the architecture's first
    package: str = ""                # as apt calls it, package=version
    path: Optional[Path] = None

    def image(self, arch: str = "amd64") -> Path:
        """The path of the image, downloaded if need be; whole, or not there."""
        return self.path or cached(self.package, HOSTS.get(arch, arch), "./boot/vmlinu[xz]-*",
                                   "./usr/lib/modules/*/vmlinu[xz]")


    def companions(self, arch: str) -> list:
        """What the selftest may use besides, for guest.boot() as @extra: CRIU, ps(1), and the
        modules of this kernel that CRIU asks for.
        """
        found = userland.companions(arch)
        if self.package and found:
            found += self._modules(HOSTS.get(arch, arch))
        return found

    def _modules(self, arch):
        package, _, version = self.package.partition("=")
        # Older kernels have them in the package of the image.
        apart = re.sub("^linux-binary-", "linux-modules-", package)
        if apart != package and (apart, version) not in offers("^linux-modules-[0-9]", arch):
            return []
        tree = cached_tree(f"{apart}={version}", arch, "modules",
                           *(f"*/{name}.ko*" for name in MODULES))
        # Not every kernel unpacks them by itself, nor every busybox.
        if packed := list(tree.rglob("*.xz")):
            subprocess.run(["xz", "-d", *packed], check=True)
        return [tree] if any(tree.iterdir()) else []


def flavours(arch: str) -> dict:
    """Flavour -> how Debian calls it, the one to be taken first."""
    return FLAVOURS[HOSTS.get(arch, arch)]


def numbers(version: str) -> tuple:
    return tuple(int(number) for number in re.findall(r"\d+", version))


@functools.lru_cache(maxsize=None)
def offered(arch: str) -> dict:
    """What the archive has: (Debian's version, flavour) -> package, oldest first."""
    arch = HOSTS.get(arch, arch)
    names = {suffix: flavour for flavour, suffix in flavours(arch).items()}
    found = {}
    for package, version in offers("^linux-(image|binary)-[0-9]", arch):
        match = PACKAGE.fullmatch(package)
        if not match or match[2] not in names:
            continue
        key = version, names[match[2]]
        # Of newer kernels, linux-image is a shell around linux-binary.
        rank = match[1] == "binary", not match[3]
        found[key] = max(found.get(key, ((), "")), (rank, f"{package}={version}"))
    return {key: package for key, (_, package) in
            sorted(found.items(), key=lambda item: numbers(item[0][0]))}


def find(name: str, arch: str = "amd64") -> Kernel:
    """The kernel of that name, without downloading it."""
    if "/" in name or os.path.exists(name):
        machine.check_image(Path(name))
        return Kernel(name, path=Path(name).resolve())
    first = next(iter(flavours(arch)))
    wanted, _, flavour = name.rpartition("-")
    if flavour not in flavours(arch):
        wanted, flavour = name, first
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?(-\S+)?", wanted):
        raise BadInput(f"{name} is neither a series, as 7.2, nor a version, nor a file")
    for (version, its_flavour), package in reversed(offered(arch).items()):
        upstream = version.partition("-")[0]
        if its_flavour == flavour and (wanted in (version, upstream)
                                       or upstream.startswith(f"{wanted}.")):
            return Kernel(name, upstream, f"-{flavour}" * (flavour != first), package)
    raise BadInput(f"the archive has no kernel {name} for {arch}")
