"""Shards computed on this machine: by this process, and by workers beside it if there is work for seconds.

This process computes, too: it has already loaded torch, the panel and the package, while workers take seconds to start.
Each computes on one thread.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures import wait as first_of
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING, Any

from gatecast.core.errors import ScoringError
from gatecast.core.process import available_cores, begin_worker, starting_workers, tune_allocator
from gatecast.scoring.run_spec import SHARDS, RunSpec, ShardFile
from gatecast.scoring.shards import score_shard

if TYPE_CHECKING:
    from gatecast.scoring.engines.base import Engine

# Seconds of work left for this process alone, above which workers pay.
_WORTH = 3.0
# Workers that may die over one shard.
_DEATHS = 3


def engine(workers: int | None) -> Engine:
    """The engine of this machine.

    Args:
        workers: processes, this one among them; None: the cores that this process may use.
    """
    return partial(compute, workers=workers or available_cores())


def compute(spec: RunSpec, numbers: Sequence[int], workers: int = 1) -> Iterator[ShardFile]:
    """Compute shards in this process and in others beside it.

    If a worker dies, a new one computes its shard. If a worker cannot be started, the others take its shards.

    Args:
        spec: of the run.
        numbers: of the shards.
        workers: processes at most, this one among them.

    Returns:
        The shard files, in the order in which they are completed.

    Raises:
        ScoringError: WORKER if four workers die over the same shard; as ``score_shard``.
    """
    import torch

    tune_allocator()
    # Workers may pay: the server that forks them imports torch while the first shard is computed.
    if workers > 1 and len(numbers) >= SHARDS:
        with suppress(OSError, EOFError):
            _context()
    left = deque(numbers)
    threads = torch.get_num_threads()
    mine = ThreadPoolExecutor(1, initializer=partial(torch.set_num_threads, spec.threads))
    idle: list[Executor] = [mine]
    busy: dict[Future[ShardFile], tuple[Executor, int]] = {}
    starter = ThreadPoolExecutor(workers)
    # Workers that are starting, and the shard over which the one before them died.
    coming: dict[Future[Executor], int | None] = {}
    since = time.perf_counter()
    alone = True
    died = Counter[int]()
    try:
        while left or busy or any(number is not None for number in coming.values()):
            while idle and left:
                worker, number = idle.pop(), left.popleft()
                busy[_begun(worker, spec, number)] = worker, number
            waited: set[Future[Any]] = {*busy, *coming}
            done = first_of(waited, return_when=FIRST_COMPLETED).done
            for started in coming.keys() & done:
                lost = coming.pop(started)
                if error := started.exception():
                    print(f"scoring continues with one process less: {error}", file=sys.stderr)
                    left.extend(() if lost is None else (lost,))
                elif lost is None:
                    idle.append(started.result())
                else:
                    busy[_begun(started.result(), spec, lost)] = started.result(), lost
            for future in busy.keys() & done:
                worker, number = busy.pop(future)
                try:
                    file = future.result()
                except BrokenProcessPool:
                    died[number] += 1
                    if died[number] > _DEATHS:
                        raise _dying(died[number]) from None
                    coming[starter.submit(_process, spec.threads)] = number
                    continue
                idle.append(worker)
                yield file
                # The seconds of this shard, for each of those that are left.
                if alone and (time.perf_counter() - since) * len(left) > _WORTH:
                    alone = False
                    more = min(workers - 1, len(left))
                    coming |= {starter.submit(_process, spec.threads): None for _ in range(more)}
                since = time.perf_counter()
    finally:
        starter.shutdown(cancel_futures=True)
        late = (f.result() for f in coming if not f.cancelled() and not f.exception())
        for worker in (mine, *idle, *(worker for worker, _ in busy.values()), *late):
            worker.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _begun(worker: Executor, spec: RunSpec, number: int) -> Future[ShardFile]:
    try:
        return worker.submit(score_shard, spec, number)
    except BrokenProcessPool as error:  # the worker died while it was idle
        failed: Future[ShardFile] = Future()
        failed.set_exception(error)
        return failed


def _process(threads: int) -> Executor:
    """A worker that is ready to compute; starting it takes seconds."""
    process = ProcessPoolExecutor(1, _context(), _begin, (threads,))
    process.submit(int).result()
    return process


def _context() -> ForkServerContext:
    """The context that makes processes, its server running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "gatecast.scoring.shards", "gatecast.registry.package"]
    )
    with starting_workers():
        forkserver.ensure_running()
    return context


def _dying(times: int) -> ScoringError:
    return ScoringError(
        "WORKER",
        f"{times} times a process of this machine died while it computed the same shard.",
        "Look for the kernel's out-of-memory killer (dmesg), or set `score.workers` lower.",
    )


def _begin(threads: int) -> None:
    """First call in a worker."""
    import torch

    begin_worker()
    tune_allocator()
    torch.set_num_threads(threads)
