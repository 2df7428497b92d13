"""Shards computed on this machine: in this process if they are few, else in a pool of processes, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from gatecast.errors import ScoringError
from gatecast.scoring.job import Job, Part
from gatecast.scoring.shards import score_shard

if TYPE_CHECKING:
    from gatecast.scoring.engines import Engine

_WORTH = 20_000  # series from which on processes of their own pay
_DEATHS = 3  # workers that may die in a row without a part in between


def engine(workers: int | None, series: int) -> Engine:
    """In this process, or in a pool.

    Args:
        workers: processes; None: the cores that this process may use.
        series: how many there are.
    """
    from gatecast.training.runtime import available_cores

    workers = workers or available_cores()
    return here if workers == 1 or series < _WORTH else partial(pool, workers=workers)


def here(job: Job, numbers: Sequence[int]) -> Iterator[Part]:
    """In this process, one shard after the other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        for number in numbers:
            yield score_shard(job, number)
    finally:
        torch.set_num_threads(before)


def pool(job: Job, numbers: Sequence[int], workers: int) -> Iterator[Part]:
    """In processes. Where one of them dies the others are replaced too, and what was not finished is done again.

    Raises:
        ScoringError: WORKER if they keep dying.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "gatecast.scoring.shards", "gatecast.registry.package"]
    )
    left, deaths = set(numbers), 0
    while left:
        with ProcessPoolExecutor(workers, context, _begin, (job.threads,)) as processes:
            started = [processes.submit(score_shard, job, number) for number in sorted(left)]
            try:
                for done in as_completed(started):
                    part = done.result()
                    left.discard(part.shard)
                    deaths = 0
                    yield part
            except BrokenProcessPool:
                deaths += 1
                if deaths > _DEATHS:
                    raise ScoringError(
                        "WORKER",
                        f"{deaths} times a process of this machine died without forecasting a shard.",
                        "Look for the kernel's out-of-memory killer (dmesg), or set `score.workers` lower.",
                    ) from None
            finally:
                processes.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """First thing in a worker: its threads; an interrupt is the parent's to see; it ends when the parent does."""
    import torch

    from gatecast.training.runtime import tune_allocator

    tune_allocator()
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
