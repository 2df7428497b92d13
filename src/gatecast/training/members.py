"""An ensemble's members, trained in parallel: a process each, and a device or a core each.

Small recurrent nets gain little from sharing their batches among devices, and everything from training side by side.
A member keeps its own checkpoints, so that after an interruption only what was not finished is trained again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from gatecast.core import process
from gatecast.core.errors import GatecastError, TrainError
from gatecast.training.config import Fit

Task = Callable[[], Any]


def places(fit: Fit) -> list[int | None]:
    """Where members train at the same time: the GPUs, or None for each CPU core (or group of ``fit.threads``)."""
    if fit.accelerator in ("auto", "gpu", "cuda"):
        import torch

        if torch.cuda.is_available():
            return list(range(torch.cuda.device_count()))
    return [None] * max(1, process.available_cores() // (fit.threads or 1))


def run(tasks: dict[str, Task], where: list[int | None]) -> dict[str, Any]:
    """Run tasks in processes of their own, as many at once as there are places.

    Args:
        tasks: by name; must be picklable, and so must what they return.
        where: see :func:`places`.

    Returns:
        What each returned.

    Raises:
        GatecastError: the first that a task raised; TrainError MEMBER if a process was lost. The others are ended.
        SystemExit: 143 after SIGTERM, 130 after Ctrl-C.
    """
    context = get_context("spawn")
    waiting, free = list(tasks.items()), list(where)
    running: dict[Connection, tuple[str, SpawnProcess, int | None]] = {}
    results: dict[str, Any] = {}
    try:
        with _exits(), _own_code_first():
            while waiting or running:
                while waiting and free:
                    (name, task), place = waiting.pop(0), free.pop(0)
                    answer, theirs = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(task, place, theirs, os.getpid()))
                    process.start()
                    theirs.close()
                    running[answer] = name, process, place
                ready = wait(list(running))
                for answer in [a for a in running if a in ready]:
                    name, process, place = running[answer]
                    results[name] = _received(answer, name, process)
                    del running[answer]
                    free.append(place)
    finally:
        for _, process, _ in running.values():
            process.kill()
            process.join()
    return {name: results[name] for name in tasks}


def _received(answer: Connection, name: str, process: SpawnProcess) -> Any:
    try:
        result = answer.recv()
    except EOFError:
        process.join()
        raise TrainError(
            "MEMBER",
            f"the process of {name} ended without a result (exit code {process.exitcode}).",
            "Run the same command again: members that are finished are not trained again.",
        ) from None
    process.join()
    if isinstance(result, GatecastError):
        raise result
    return result


def _work(task: Task, place: int | None, answer: Connection, parent: int) -> None:
    """In the process of a task: end with the parent, leave Ctrl-C to it, see one device, be nobody's rank, answer."""
    process.die_with(parent)
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if place is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[place] if visible != [""] else str(place)
    try:
        answer.send(task())
    except GatecastError as error:
        answer.send(error)


@contextmanager
def _own_code_first() -> Iterator[None]:
    """New processes import this gatecast, also where MLflow has put the one of a loaded model before it."""
    before, own = list(sys.path), str(Path(__file__).parents[2])
    sys.path.insert(0, own)
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _exits() -> Iterator[None]:
    """SIGTERM and Ctrl-C become exit codes, so that what is running is ended."""

    def stop(*_: Any) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, stop)
    again = "run again: members that are finished are not trained again"
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; {again}", file=sys.stderr)
        raise SystemExit(130) from None
    except SystemExit:
        print(f"stopped by SIGTERM; {again}", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
