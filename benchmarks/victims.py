"""A project whose scoring runs can be killed, put to sleep and doubled, and what must hold of it afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil

from benchmarks.recipes import model_of
from gatecast.core import failpoints
from gatecast.core.errors import GatecastError, ScoringError
from gatecast.core.ledger import Ledger
from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import FileFeed, RawFile, Splits, Task
from gatecast.registry import package, promotion
from gatecast.registry.mlflow import store as mlflow_store
from gatecast.scoring import read_forecasts, run, run_spec, store
from gatecast.scoring.config import Score
from gatecast.scoring.engines import local
from gatecast.training.config import Fit

SERIES, HORIZON = 7, 5
FEED = FileFeed(
    name="sales",
    files=[RawFile(path="sales.csv")],
    id="unique_id",
    time=["ds"],
    frequency="D",
    task=Task(horizon=HORIZON, season_length=7, splits=Splits(by="time", validation=21, test=21)),
)
_UNDISTURBED = "undisturbed.parquet"  # forecasts of a run that nothing happened to
QUIET = {
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a fork must not share a connection
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@contextmanager
def stage(folder: Path, empty_store: Path | None = None) -> Iterator[Path]:
    """A project with a feed of seven series, a champion and another version, scored nowhere yet.

    Args:
        folder: where it is made.
        empty_store: an MLflow store with its tables; None: make its tables.
    """
    folder.mkdir(parents=True)
    if empty_store:
        shutil.copy(empty_store, folder / mlflow_store.DATABASE)
    with chdir(folder), patch.dict(os.environ, QUIET):
        for name in ("MLFLOW_TRACKING_URI", "GATECAST_LEDGER_URI", "GATECAST_DATA_DIR"):
            os.environ.pop(name, None)
        write_feed(0.0)
        checked = ingest.check_feed(FEED)
        built = build_panel(checked.observations, checked.static, FEED)
        from gatecast.training import trainer

        model = model_of(kind="linear")
        trained = trainer.train("linear", built, model, Fit(), 1)
        for seed in (1, 2):
            where = Path(f"models/{seed}/linear")
            package.write(where, "linear", model, seed, built.meta, trained)
            promotion.register(where, "gatecast-sales")
        shutil.rmtree("models")
        name_champion(1)
        with patch.object(run_spec, "SERIES", 2):
            run.score(FEED)
        _without_time(read_forecasts("sales")).to_parquet(_UNDISTURBED)
        for left in ("forecasts", "data"):
            shutil.rmtree(left)
        Path("ledger.db").unlink()
        yield folder


def write_feed(correction: float) -> None:
    """The feed; ``correction`` is added to its last value."""
    days = pd.date_range("2024-01-01", periods=140, freq="D")
    r = np.random.default_rng(3)
    rows = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": days,
                "y": 50 + 10 * i + 8 * (days.day_of_week < 5) + r.normal(0, 1, 140),
            }
        )
        for i in range(SERIES)
    ]
    table = pd.concat(rows, ignore_index=True)
    table.loc[table.index[-1], "y"] += correction
    table.to_csv("sales.csv", index=False)


def name_champion(version: int) -> None:
    """Point the alias at a version."""
    mlflow_store.client().set_registered_model_alias("gatecast-sales", "champion", str(version))


# What is done: scoring in a process of its own, which dies, stops or ends


@dataclass
class Child:
    """A forked process. Exit status: 0, 2 if it raised one of our errors, 1 for any other."""

    pid: int
    ended: list[int] = field(default_factory=list)

    def wait(self) -> int:
        """Its exit status, negative if a signal ended it."""
        if not self.ended:
            self.ended.append(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))
        return self.ended[0]

    def ends(self, status: int, code: str = "") -> None:
        """Wait; assert its status, and the code of the error that it raised."""
        assert self.wait() == status, (self.ended, said())
        assert code in said(), said()

    def stops(self) -> None:
        """Wait until it has stopped itself."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), (status, said())

    def goes_on(self) -> Child:
        os.kill(self.pid, signal.SIGCONT)
        return self


def said() -> str:
    """What the last child that failed had to say."""
    path = Path("said.txt")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def scored(before: Callable[[], object] = lambda: None) -> Child:
    """Score, in a fork of this process; ``before`` is called in it first."""
    Path("said.txt").unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid)
    status = 1
    try:
        before()
        run.score(FEED)
        status = 0
    except GatecastError as error:
        Path("said.txt").write_text(str(error), encoding="utf-8")
        status = 2
    except BaseException:
        Path("said.txt").write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(status)


def at(point: str, act: Callable[[], object]) -> Callable[[], None]:
    """Makes a child do something at a failpoint, the first time that it comes there."""

    def arm() -> None:
        there = [False]

        def reach(name: str) -> None:
            if name == point and not there[0]:
                there[0] = True
                act()

        failpoints.reach = reach

    return arm


def dying(point: str) -> Callable[[], object]:
    """Makes a child die at a failpoint as a killed process does."""
    return lambda: os.environ.__setitem__("GATECAST_FAILPOINT", point)


def stopping(point: str) -> Callable[[], None]:
    """Makes a child stop at a failpoint: it sleeps until it is told to go on, its heartbeat, too."""
    return at(point, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def time_passes() -> None:
    """Leases of who is dead or asleep have run out."""
    _leases("0")


def clock_goes_back() -> None:
    """The clock of this machine is set back by a day: leases that are held end so much later by it."""
    _leases("expires_at + 86400")


def _leases(end: str) -> None:
    if Path("ledger.db").is_file():
        with closing(sqlite3.connect("ledger.db", timeout=60)) as ledger, ledger:
            if ledger.execute("select 1 from sqlite_master where name = 'leases'").fetchone():
                ledger.execute(f"update leases set expires_at = {end}")


# What must hold


def seen() -> int:
    """What a reader sees: the number of published runs. Each is whole."""
    published = store.runs("sales")
    for manifest in published:
        whole(manifest)
    return len(published)


def whole(manifest: dict[str, Any]) -> None:
    """Assert that a run holds every series and step once, and is of one version."""
    table = read_forecasts("sales", manifest["run_key"])
    assert len(table) == manifest["rows"] == SERIES * HORIZON, len(table)
    assert not table.duplicated(["unique_id", "step"]).any()
    assert set(table["unique_id"]) == {f"s{i}" for i in range(SERIES)}
    assert np.isfinite(table["gatecast"]).all()
    assert set(table["model_version"]) == {manifest["version"]}
    assert set(table["run_key"]) == {manifest["run_key"]}
    assert table["scored_at"].nunique() == 1
    if manifest["version"] == 1:
        pd.testing.assert_frame_equal(_without_time(table), pd.read_parquet(_UNDISTURBED))


def _without_time(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="scored_at")


def sound(runs: int = 1) -> None:
    """Assert what must hold when nothing runs any more: so many runs, each whole, each with one row of the ledger."""
    assert seen() == runs, [m["run_key"] for m in store.runs("sales")]
    noted = [entry.facts["run_key"] for entry in Ledger().entries(run.KIND, "sales")]
    assert sorted(noted) == sorted(m["run_key"] for m in store.runs("sales")), noted


_POOLED = """
import sys
from benchmarks import victims

if __name__ == "__main__":
    sys.exit(victims.score_by_two(*sys.argv[1:]))
"""
PARTS = "forecasts/*/*/part-*.json"  # their receipts


def score_by_two(engine: str, until: str) -> int:
    """Score in shards of two series, by this process and another, or by two actors of Ray; the exit status.

    Args:
        engine: local | ray.
        until: the first part of this process is whole, and with the second it waits until the other process ``died``,
            until the run is given up (``over``), or until more parts are whole (``parts``): then it is killed.
    """
    given_up, parts, real, dying = threading.Event(), count(), failpoints.reach, local._dying
    happened = {
        "died": lambda: not Path("once").exists(),
        "over": given_up.is_set,
        "parts": lambda: len([*Path().glob(PARTS)]) > 2,
    }

    def reach(name: str) -> None:
        if name != "scoring: part written":
            real(name)
        elif next(parts):
            end = time.monotonic() + 300
            while not happened[until]():
                assert time.monotonic() < end
                time.sleep(0.02)
            if until == "parts":
                os.kill(os.getpid(), signal.SIGKILL)

    def told(times: int) -> ScoringError:
        given_up.set()
        return dying(times)

    run_spec.SERIES, local._WORTH = 2, 0
    patches = [(failpoints, "reach", reach), (local, "_dying", told)] if engine == "local" else []
    for where, name, instead in patches:
        setattr(where, name, instead)
    try:
        run.score(FEED, rules=Score.model_validate({"engine": engine, "workers": 2}))
    except GatecastError as error:
        print(error)
        return 2
    return 0


def pooled(engine: str, until: str = "", **environment: str) -> subprocess.Popen[str]:
    """:func:`score_by_two` in a process of a session of its own."""
    Path("pooled.py").write_text(_POOLED)
    return subprocess.Popen(
        [sys.executable, "pooled.py", engine, until],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def gone(session: int) -> None:
    """Wait until no process of a session is left."""
    until = time.monotonic() + 60
    while left := _alive(session):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def _alive(session: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found
