"""This process: its memory, its threads, its end with its parent; and whether another one is still there."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


_PR_SET_PDEATHSIG = 1


_CGROUP = Path("/sys/fs/cgroup")


def tune_allocator() -> bool:
    """Keep freed memory in the process (glibc only): training a recurrent net on CPU is page-fault bound otherwise.

    Set ``GATECAST_ALLOCATOR=default`` to opt out.

    Returns:
        Whether the allocator was tuned.
    """
    if os.environ.get("GATECAST_ALLOCATOR") == "default" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(name, value) for name, value in settings)


def cpu_has_bfloat16() -> bool:
    """Whether the CPU kernels of recurrent layers can compute in bfloat16 (AVX-512 or AMX)."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def available_cores() -> int:
    """Cores this process may use: its CPU affinity, and no more than its container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(cores, int(quota))) if quota else cores


def _cpu_quota() -> float | None:
    """Cores' worth of time that the control group grants; None: no limit, or no control groups."""
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()  # version 2: "max 100000"
        return float(quota) / float(period)
    with suppress(OSError, ValueError):
        quota, period = ((_CGROUP / f"cpu/cpu.cfs_{x}_us").read_text() for x in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else None
    return None


def set_threads(threads: int | None, processes: int = 1) -> None:
    """Use this many CPU threads for tensor arithmetic.

    Args:
        threads: None: what ``OMP_NUM_THREADS`` says, else the available cores.
        processes: ranks on this machine, which share the cores.
    """
    import torch

    declared = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and declared.isdigit():
        return
    threads = threads or max(1, available_cores() // processes)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for other ranks; Lightning guesses without it


def die_with(parent: int) -> None:
    """End at once when the process that started this one ends, however it ends (Linux).

    Args:
        parent: its process id.

    Raises:
        SystemExit: 1 if it has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


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
