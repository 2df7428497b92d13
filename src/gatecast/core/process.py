"""This process and others: memory and threads, workers that end with the process that started them, signs of life.

with process.starting_workers():      # in the process that waits for them
    context.Process(target=work).start()

def work() -> None:                   # in the worker
    process.begin_worker()
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
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
    # not on macOS
    except AttributeError:
        cores = os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(cores, int(quota))) if quota else cores


def _cpu_quota() -> float | None:
    """Cores' worth of time that the control group grants; None: no limit, or no control groups."""
    # version 2 of control groups: "200000 100000", or "max 100000"
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return float(quota) / float(period)
    # version 1
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
    # for the other ranks: Lightning would guess
    os.environ["OMP_NUM_THREADS"] = str(threads)


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


@contextmanager
def starting_workers() -> Iterator[None]:
    """Processes that :mod:`multiprocessing` starts inside import this gatecast, and Ctrl-C is not theirs to see.

    A model that gatecast 0.1.0 logged brings a part of that gatecast, which MLflow puts first on the ``sys.path`` that
    new processes inherit.
    """
    own = str(Path(__file__).parents[2])
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.path.insert(0, own)
    try:
        yield
    finally:
        sys.path.remove(own)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def begin_worker() -> None:
    """First call in a worker: it ends when its parent ends, however that ends, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def this_process() -> dict[str, str]:
    """Tags that tell this process from every other, also from a later one with the same process id."""
    return {
        "gatecast.host": socket.gethostname(),
        "gatecast.machine": _machine(),
        "gatecast.boot": _boot(),
        "gatecast.pid": str(os.getpid()),
        "gatecast.pid_started": _started(os.getpid()) or "",
    }


def gone(tags: dict[str, str]) -> bool:
    """Whether the process that these tags name, one of this host, has ended."""
    boot, _, namespace = tags.get("gatecast.boot", "").partition(" ")
    my_boot, _, my_namespace = _boot().partition(" ")
    # the machine was started again, or it is another one of the same name
    if boot != my_boot:
        return bool(_machine()) and tags.get("gatecast.machine") == _machine()
    # a container with process ids of its own: cannot be known from here
    if namespace != my_namespace:
        return False
    return _started(int(tags["gatecast.pid"])) != tags["gatecast.pid_started"]


def _machine() -> str:
    """This installation of the operating system; empty where it has no id."""
    with suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


def _boot() -> str:
    """This boot of the machine, and the namespace of process ids of this container; empty where Linux is not.

    ``psutil.boot_time`` is no name for a boot: it moves with the system's clock.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str | None:
    """When a process began, in clock ticks since the boot; None if there is none, or it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        # both move with the system's clock, their difference does not
        seconds = process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None
    return str(round(seconds * os.sysconf("SC_CLK_TCK")))
