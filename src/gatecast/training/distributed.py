"""Which of the ranks of a training this process is, and how ranks begin and end together.

A training on many devices is one process a device. ``python pipelines/train.py`` is rank 0 and starts the others of
its machine (Lightning does); ``torchrun`` starts all of them, on every machine.
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

_LAUNCHER = "GATECAST_LAUNCHER"  # process id of rank 0, for the ranks that it starts


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
