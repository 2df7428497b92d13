"""What the process is told before it trains: memory, threads, and which of the ranks it is.

A training on many devices is one process a device. ``python pipelines/train.py`` is rank 0 and starts the others of
its machine (Lightning does); ``torchrun`` starts all of them, on every machine.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gatecast.config import Fit
from gatecast.errors import TrainError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PR_SET_PDEATHSIG = 1
_LAUNCHER = "GATECAST_LAUNCHER"  # process id of rank 0, for the ranks that it starts
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


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: 0 leads: it alone logs, prints and writes.
        world: processes on all machines.
        local: processes on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 1


def ranks(fit: Fit) -> Ranks:
    """Which process this is, from the recipe and the environment that started it.

    Raises:
        TrainError: DEVICES if torchrun started many processes for a recipe of one device, if no GPU is there for
            ``devices: -1``, or if a batch has fewer windows than there are processes.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        found = Ranks(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]))
        if found.world > 1 and fit.devices == 1:
            raise TrainError(
                "DEVICES",
                f"torchrun started {found.world} processes, but this trainer recipe is for one device.",
                "Choose another: trainer=ddp (GPUs) or trainer=ddp_cpu.",
            )
    else:
        devices = fit.devices
        if devices == -1:
            import torch

            devices = torch.cuda.device_count()
        if devices < 1:
            raise TrainError(
                "DEVICES",
                "this trainer recipe wants every GPU of the machine, and there is none.",
                "Choose another: trainer=auto, or trainer=ddp_cpu for two processes on CPU.",
            )
        found = Ranks(int(env["LOCAL_RANK"]) if _launched() else 0, devices, devices)
    if found.world > fit.batch_size:
        raise TrainError(
            "DEVICES",
            f"{found.world} processes cannot share a batch of {fit.batch_size} windows.",
            "Use fewer devices, or a larger `batch_size` in conf/trainer/.",
        )
    return found


def _launched() -> bool:
    """Whether another process of ours started this one as a rank."""
    return os.environ.get(_LAUNCHER, str(os.getpid())) != str(os.getpid())


@contextmanager
def launching() -> Iterator[None]:
    """Ranks started inside know which process started them; the environment is as before when the block ends."""
    before = dict(os.environ)
    os.environ[_LAUNCHER] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def follow_launcher() -> None:
    """End when the process that started this rank ends, however it ends (Linux), and leave Ctrl-C to it."""
    launched = _launched()
    if not launched and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    die_with(int(os.environ[_LAUNCHER]) if launched else os.getppid())
    if launched:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


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


def end_ranks(children: list[subprocess.Popen[bytes]], patience: float) -> str:
    """Wait for the ranks that this process started, and end those that do not end by themselves.

    Args:
        children: emptied, which also ends Lightning's watch over them.
        patience: seconds until they are killed.

    Returns:
        What became of one that ended by an error of its own; empty if none did.
    """
    until = time.monotonic() + patience
    while any(c.poll() is None for c in children) and time.monotonic() < until:
        if any(c.poll() for c in children):
            break
        time.sleep(0.05)
    said = ""
    for rank, child in enumerate(children, 1):
        if child.returncode:
            how = (
                f"was killed by signal {-child.returncode}"
                if child.returncode < 0
                else f"ended with exit code {child.returncode}"
            )
            said = said or f"rank {rank} (process {child.pid}) {how}"
    for child in children:
        child.kill()
        child.wait()
    children.clear()
    return said
