"""An ensemble's members, trained side by side: one process per member, each on its own device or CPU core.

Small recurrent nets gain little from sharing their batches among devices, and everything from training side by side.
Each member keeps its own checkpoints, so that after an interruption only unfinished members are trained again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from gatecast.core import process
from gatecast.core.errors import GatecastError, TrainError
from gatecast.training.config import Fit

Task = Callable[[], Any]


@dataclass(frozen=True)
class _Member:
    """A member in training: its process, and the device that it has."""

    name: str
    process: SpawnProcess
    device: int | None


def devices(fit: Fit) -> list[int | None]:
    """The devices on which members train at the same time: the GPUs, or None per CPU core (per ``fit.threads``)."""
    if fit.accelerator in ("auto", "gpu", "cuda"):
        import torch

        if torch.cuda.is_available():
            return list(range(torch.cuda.device_count()))
    return [None] * max(1, process.available_cores() // (fit.threads or 1))


def run(tasks: dict[str, Task], devices: list[int | None]) -> dict[str, Any]:
    """Run tasks in processes of their own, one per device at a time.

    Args:
        tasks: by name; must be picklable, and so must what they return.
        devices: see :func:`devices`.

    Returns:
        The result of each task, by name.

    Raises:
        GatecastError: the first that a task raised; TrainError MEMBER if a process was lost. The others are ended.
        SystemExit: 143 after SIGTERM, 130 after Ctrl-C.
    """
    waiting, free = list(tasks.items()), list(devices)
    running: dict[Connection, _Member] = {}
    results: dict[str, Any] = {}
    try:
        with _exit_codes():
            while waiting or running:
                while waiting and free:
                    answer, member = _start(*waiting.pop(0), free.pop(0))
                    running[answer] = member
                ready = wait(list(running))
                for answer in [a for a in running if a in ready]:
                    member = running[answer]
                    results[member.name] = _result(answer, member)
                    del running[answer]
                    free.append(member.device)
    finally:
        for member in running.values():
            member.process.kill()
            member.process.join()
    return {name: results[name] for name in tasks}


def _start(name: str, task: Task, device: int | None) -> tuple[Connection, _Member]:
    context = get_context("spawn")
    answer, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(task, device, theirs))
    with process.starting_workers():
        worker.start()
    theirs.close()
    return answer, _Member(name, worker, device)


def _result(answer: Connection, member: _Member) -> Any:
    try:
        result = answer.recv()
    except EOFError:
        member.process.join()
        raise TrainError(
            "MEMBER",
            f"the process of {member.name} ended without a result (exit code {member.process.exitcode}).",
            "Run the same command again: members that are finished are not trained again.",
        ) from None
    member.process.join()
    if isinstance(result, GatecastError):
        raise result
    return result


def _work(task: Task, device: int | None, answer: Connection) -> None:
    """In the process of a member: see one device, be no rank of a training by torchrun, send the result."""
    process.begin_worker()
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    if device is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[device] if visible != [""] else str(device)
    try:
        answer.send(task())
    except GatecastError as error:
        answer.send(error)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """SIGTERM and Ctrl-C become exit codes, so that the running members are ended."""

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
