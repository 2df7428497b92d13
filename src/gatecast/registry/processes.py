"""Which process a run belongs to, and whether that process is still there."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def this_process() -> dict[str, str]:
    """Tags that tell this process from every other, also from a later one with its number."""
    return {
        "gatecast.host": socket.gethostname(),
        "gatecast.machine": _machine(),
        "gatecast.boot": _boot(),
        "gatecast.pid": str(os.getpid()),
        "gatecast.pid_started": _started(os.getpid()) or "",
    }


def _machine() -> str:
    """This installation of the operating system; empty where it has no id."""
    with suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


def _boot() -> str:
    """This boot of the machine, and the process numbers of this container; empty where Linux is not."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str | None:
    """When a process began, in clock ticks since the boot; None if there is none (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return None if state in "ZX" else fields[18]


def gone(tags: dict[str, str]) -> bool:
    """Whether the process that these tags name, one of this host, has ended."""
    boot, _, numbers = tags.get("gatecast.boot", "").partition(" ")
    my_boot, _, my_numbers = _boot().partition(" ")
    pid = int(tags["gatecast.pid"])
    if boot != my_boot:  # the machine was started again, or it is another of the same name
        return bool(_machine()) and tags.get("gatecast.machine") == _machine()
    if numbers != my_numbers:
        return False  # a container with other process numbers: cannot be known from here
    if my_boot:
        return _started(pid) != tags["gatecast.pid_started"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
