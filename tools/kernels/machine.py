# SPDX-License-Identifier: GPL-2.0
"""Machines that kernels run on, which QEMU emulates, or User Mode Linux is; and their images."""
import struct
from dataclasses import dataclass
from pathlib import Path

from archive import BadInput


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
    memory: int = 512       # MB


PC = Machine("qemu-system-x86_64", "q35", ("ttyS0", "ttyS1", "ttyS2"))
MACHINES = {
    "amd64": PC,
    "i386": PC,     # programs of 32 bit on the kernel of amd64
    "arm64": Machine("qemu-system-aarch64", "virt", ("ttyAMA0", "hvc0", "hvc1"),
                     ports="virtio-serial-pci"),
    "armhf": Machine("qemu-system-arm", "virt", ("ttyAMA0", "hvc0", "hvc1"),
                     ports="virtio-serial-pci"),
    "ppc64el": Machine("qemu-system-ppc64", "pseries", ("hvc0", "hvc1", "hvc2"),
                       ports="virtio-serial-pci", memory=1024),
    "riscv64": Machine("qemu-system-riscv64", "virt", ("ttyS0", "hvc0", "hvc1"),
                       cpu="rv64", ports="virtio-serial-pci"),
    "s390x": Machine("qemu-system-s390x", "s390-ccw-virtio",
                     ("ttysclp0", "hvc0", "hvc1"), ports="virtio-serial-ccw"),
}
# How the images begin that these can load: what is where.
IMAGES = ((0, b"\x7fELF"), (0x202, b"HdrS"), (0x38, b"ARMd"), (0x38, b"RSC\x05"),
          (0x24, b"\x18\x28\x6f\x01"), (8, b"\x02\x00\x00\x18\x60\x00\x00\x50"))


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
