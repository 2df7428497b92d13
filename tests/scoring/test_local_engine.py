"""Shards computed on this machine, by this process alone or by others beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from gatecast.core import failpoints
from gatecast.data.config import Feed
from gatecast.scoring import engines, run_spec
from gatecast.scoring.engines import local
from gatecast.scoring.run import score
from gatecast.scoring.run_spec import RunSpec, ShardFile


@pytest.fixture
def task(
    daily_feed: Feed, promote: Callable[[Feed], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], RunSpec]:
    """The spec of a run of four shards, to be computed again into another folder."""
    seen: list[RunSpec] = []

    def engine(*_: Any) -> engines.Engine:
        return lambda given, numbers: seen.append(given) or local.compute(given, numbers)  # type: ignore[func-returns-value]

    monkeypatch.setattr(run_spec, "SERIES", 1)
    monkeypatch.setattr(engines, "engine", engine)
    promote(daily_feed)
    score(daily_feed)
    assert seen[0].shards == 4
    return lambda folder: replace(seen[0], address=str(Path(folder).absolute()))


def digests(found: list[ShardFile]) -> list[tuple[int, str]]:
    return sorted((part.shard, part.sha256) for part in found)


def workers() -> set[int]:
    """Processes that compute: children of the server that makes them."""
    mine = psutil.Process().children(recursive=True)
    return {
        p.pid for p in mine if (up := p.parent()) is not None and up.pid != psutil.Process().pid
    }


def test_little_work_starts_no_process(
    task: Callable[[str], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(local, "_process", started.append)
    assert len(list(local.compute(task("again"), range(4), workers=8))) == 4
    assert not started


@pytest.fixture
def slow_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """This process waits with its second part until there are two more: another process has written them."""

    def make(folder: str) -> None:
        mine = count()

        def reach(name: str) -> None:
            if name == "scoring: part written" and next(mine) == 1:
                end = time.monotonic() + 120
                while len([*Path(folder).glob("part-*.json")]) < 3:
                    assert time.monotonic() < end
                    time.sleep(0.02)

        monkeypatch.setattr(local, "_WORTH", 0.0)
        monkeypatch.setattr(failpoints, "reach", reach)

    return make


def test_two_processes_write_the_bytes_of_one_and_end_with_the_run(
    task: Callable[[str], RunSpec], slow_here: Callable[[str], None]
) -> None:
    alone = digests(list(local.compute(task("alone"), range(4))))
    before = workers()
    slow_here("both")
    assert digests(list(local.compute(task("both"), range(4), workers=2))) == alone
    assert workers() == before


def test_a_run_that_finds_parts_of_an_earlier_one_starts_others_for_the_rest(
    task: Callable[[str], RunSpec],
    slow_here: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An adopted part takes no time; how long a shard takes is told by the next."""
    list(local.compute(task("left"), [0]))
    asked: list[int] = []
    monkeypatch.setattr(
        local, "_process", lambda threads: asked.append(threads) or ThreadPoolExecutor(1)
    )
    slow = local.score_shard
    monkeypatch.setattr(local, "_WORTH", 0.3)
    monkeypatch.setattr(
        local, "score_shard", lambda spec, n: (n and time.sleep(0.4)) or slow(spec, n)
    )
    assert len(list(local.compute(task("left"), range(4), workers=2))) == 4
    assert asked


def test_parts_of_another_division_into_shards_are_not_adopted(
    task: Callable[[str], RunSpec],
) -> None:
    """As a version left them that divides the series in another way."""
    two = digests(list(local.compute(replace(task("two"), shards=2), range(2))))
    list(local.compute(task("left"), range(4)))
    assert digests(list(local.compute(replace(task("left"), shards=2), range(2)))) == two


def test_a_process_that_cannot_be_started_is_done_without(
    task: Callable[[str], RunSpec],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def process(_: int) -> Any:
        raise BrokenProcessPool("no memory")

    monkeypatch.setattr(local, "_WORTH", 0.0)
    monkeypatch.setattr(local, "_process", process)
    slow = local.score_shard
    monkeypatch.setattr(local, "score_shard", lambda *a: time.sleep(0.1) or slow(*a))
    assert len(list(local.compute(task("again"), range(4), workers=3))) == 4
    assert "one process less: no memory" in capsys.readouterr().err


_SCRIPT = """
import threading
from pathlib import Path
from gatecast.data.config import FileFeed, RawFile, Splits, Task
from gatecast.scoring.config import Score
from gatecast.scoring import run_spec, run
from gatecast.scoring.engines import local
run_spec.SERIES, local._WORTH = 1, 0
tried, start, compute = threading.Event(), local._process, local.score_shard
def process(threads):
    try:
        return start(threads)
    finally:
        tried.set()
local._process = process
def after_the_first(spec, n):
    assert n == 0 or tried.wait(120)  # until it was tried to start a process
    return compute(spec, n)
local.score_shard = after_the_first
feed = FileFeed(name="sales", files=[RawFile(path="sales.csv")], id="unique_id", time=["ds"], frequency="D",
            task=Task(horizon=7, season_length=7, splits=Splits(by="time", validation=21, test=21)))
print(run.score(feed, rules=Score(workers=2)).manifest["series"])
"""


@pytest.mark.slow
def test_a_script_without_a_guard_ends_and_says_what_it_lacks(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    Path("script.py").write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "4\n"
    assert 'if __name__ == "__main__":' in done.stderr
    assert "scoring continues with one process less" in done.stderr


def test_a_shard_over_which_a_process_died_is_not_taken_by_this_one(
    task: Callable[[str], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kills one process would kill the run."""
    dead, given = ThreadPoolExecutor(1), []

    def begun(worker: Any, asked: RunSpec, number: int) -> Any:
        given.append((number, worker))
        if worker is dead:
            future: Future[ShardFile] = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future
        return real(worker, asked, number)

    real, slow = local._begun, local.score_shard
    others = iter([dead, dead, ThreadPoolExecutor(1)])
    monkeypatch.setattr(local, "_WORTH", 0.0)
    monkeypatch.setattr(local, "_begun", begun)
    monkeypatch.setattr(local, "_process", lambda threads: next(others))
    monkeypatch.setattr(local, "score_shard", lambda *a: time.sleep(0.1) or slow(*a))
    assert len(list(local.compute(task("again"), range(4), workers=2))) == 4
    lost = [number for number, worker in given if worker is dead]
    mine = given[0][1]
    assert len(lost) == 2
    assert lost[0] == lost[1]
    assert (lost[0], mine) not in given


def test_a_run_that_is_given_up_leaves_no_process(
    task: Callable[[str], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_WORTH", 0.0)
    before = workers()
    files = local.compute(task("left"), range(4), workers=3)
    next(files)
    next(files)
    files.close()  # type: ignore[attr-defined]
    assert workers() == before
