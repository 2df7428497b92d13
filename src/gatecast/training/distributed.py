"""Which rank of a training this process is, and how ranks begin and end together.

A training on many devices has one process per device. ``python pipelines/train.py`` is rank 0, and Lightning starts the
others on its machine; ``torchrun`` starts all of them, on every machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gatecast.core.errors import TrainError
from gatecast.core.process import die_with
from gatecast.training.config import Fit

# The environment variable by which rank 0 tells the ranks that it starts its process id.
_LAUNCHER = "GATECAST_LAUNCHER"


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: of this process; rank 0 alone logs, prints and writes.
        world: number of processes on all machines.
        local: number of processes on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 1


def ranks(fit: Fit) -> Ranks:
    """Which rank this process is, from the recipe and the environment.

    Raises:
        TrainError: DEVICES if torchrun started many processes for a recipe of one device, if no GPU is there for
            ``devices: -1``, or if a batch has fewer windows than there are processes.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        ranks = Ranks(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]))
        if ranks.world > 1 and fit.devices == 1:
            raise TrainError(
                "DEVICES",
                f"torchrun started {ranks.world} processes, but this trainer recipe is for one device.",
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
                "this trainer recipe uses every GPU of the machine, and there is none.",
                "Choose another: trainer=auto, or trainer=ddp_cpu for two processes on CPU.",
            )
        ranks = Ranks(int(env["LOCAL_RANK"]) if _launched() else 0, devices, devices)
    if ranks.world > fit.batch_size:
        raise TrainError(
            "DEVICES",
            f"{ranks.world} processes cannot share a batch of {fit.batch_size} windows.",
            "Use fewer devices, or a larger `batch_size` in conf/trainer/.",
        )
    return ranks


def _launched() -> bool:
    """Whether rank 0 started this process as a rank."""
    return os.environ.get(_LAUNCHER, str(os.getpid())) != str(os.getpid())


@contextmanager
def launching() -> Iterator[None]:
    """Ranks that are started inside know the process that started them; the environment is restored at the end."""
    before = dict(os.environ)
    os.environ[_LAUNCHER] = str(os.getpid())
    try:
        yield
        _part()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _part() -> None:
    """Leave the group of the ranks that this process started: the next training of a multirun has other ranks."""
    import torch.distributed as dist

    if dist.is_initialized() and "TORCHELASTIC_RUN_ID" not in os.environ:
        dist.destroy_process_group()


def follow_launcher() -> None:
    """End when the process that started this rank ends, however it ends (Linux), and leave Ctrl-C to it."""
    launched = _launched()
    if not launched and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    die_with(int(os.environ[_LAUNCHER]) if launched else os.getppid())
    if launched:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_ranks(children: list[subprocess.Popen[bytes]], patience: float) -> str:
    """Wait for the ranks that this process started, and end those that do not end by themselves.

    Args:
        children: emptied, so that Lightning no longer watches them.
        patience: seconds until they are killed.

    Returns:
        How the first of those that failed ended; empty if none did.
    """
    until = time.monotonic() + patience
    while any(c.poll() is None for c in children) and time.monotonic() < until:
        if any(c.poll() for c in children):
            break
        time.sleep(0.05)
    failure = ""
    for rank, child in enumerate(children, 1):
        if child.returncode:
            how = (
                f"was killed by signal {-child.returncode}"
                if child.returncode < 0
                else f"ended with exit code {child.returncode}"
            )
            failure = failure or f"rank {rank} (process {child.pid}) {how}"
    for child in children:
        child.kill()
        child.wait()
    children.clear()
    return failure
