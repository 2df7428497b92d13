"""A tiny project in a folder of its own with a promoted closed-form model."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, FileFeed, RawFile, Splits, Task
from gatecast.data.recorded import widened
from gatecast.evaluation import baselines, event_board, leaderboard
from gatecast.evaluation.backtest import Backtest
from gatecast.registry import champion, package, promotion
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import store
from gatecast.schedule.config import Schedule
from gatecast.scoring import config, shard_files, sinks
from gatecast.scoring.config import SinkSettings
from gatecast.scoring.sinks import Sink
from gatecast.scoring.storage import open_storage
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of
from tests.scoring.staging import Clocked
from tests.servers import Postgres, execute, free_port, serving

EVENT = {
    "above": 75.0
}  # of `daily_feed`: s2 crosses it on working days, s3 always, the others never


@pytest.fixture(autouse=True)
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is an empty project; stores are its own."""
    shutil.copy(empty_store, tmp_path / store.DATABASE)
    for name in ("MLFLOW_TRACKING_URI", "GATECAST_LEDGER_URI", "GATECAST_DATA_DIR", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def daily_feed(project: Path) -> Feed:
    """Four daily series of 140 days with a weekly season: see :func:`sales`."""
    return sales(project)


def sales(folder: Path) -> Feed:
    """Four daily series of 140 days with a weekly season, as a CSV file and its recipe."""
    days = pd.date_range("2024-01-01", periods=140, freq="D")
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": days,
                "y": 50 + 10 * i + 8 * (days.dayofweek < 5) + rng.normal(0, 1, 140),
            }
        )
        for i in range(4)
    ]
    pd.concat(parts).to_csv(folder / "sales.csv", index=False)
    return FileFeed(
        name="sales", files=[RawFile(path="sales.csv")], id="unique_id", time=["ds"], frequency="D",
        task=Task(horizon=7, season_length=7, splits=Splits(by="time", validation=21, test=21)),
    )  # fmt: skip


@pytest.fixture
def publish() -> Callable[..., Sink]:
    """Publish a frame as the one part of a run, in a sink (by default Parquet in ``forecasts/``)."""

    def run(key: str, frame: pd.DataFrame, sink: Sink | None = None, **facts: Any) -> Sink:
        sink = sink or sinks.sink(config.SinkSettings())
        base = {"source": "demo", "scored_at": "2025-01-01T00:00:00+00:00", "cutoff": "2025-01-01"}
        manifest = base | {"run_key": key} | facts
        where = open_storage(sink.shard_address(manifest["source"], key))
        table = pa.Table.from_pandas(frame, preserve_index=False)
        part = shard_files.write(where, table, shard_files.name_of(0, 1))
        sink.publish(manifest["source"], key, manifest | {"rows": len(frame), "parts": [part]})
        return sink

    return run


@pytest.fixture(scope="session")
def retrain() -> Callable[..., dict[str, Any]]:
    """Ingest a feed, train the ridge, evaluate it and send it to the gate: the belt without DVC."""

    def run(feed: Feed, **rules: Any) -> dict[str, Any]:
        checked = ingest.check_feed(feed)
        built = build_panel(checked.observations, checked.static, feed)
        model = model_of(kind="linear")
        trained = trainer.train("linear", built, model, Fit(), 1)
        shutil.rmtree("models/linear", ignore_errors=True)
        digest = package.write(Path("models/linear"), "linear", model, 1, built.meta, trained)
        backtest = Backtest.of(built)
        predictors = (
            baselines.seasonal_naive(built.meta.horizon, built.meta.season_length),
            package.load(Path("models/linear")),
        )
        results = [backtest.run(p) for p in predictors]
        table = leaderboard.leaderboard(results, "mase")
        leaderboard.write(
            Path("reports"), results, table, built, backtest, "mase", {"linear": digest}
        )
        lenient = {"min_skill": -10.0, "coverage_95": [0.0, 1.0], "min_origins": 1}
        board, gate_rules = Path("reports/leaderboard.json"), Promote(**lenient | rules)
        panel_for = partial(widened, built, feed=feed, as_of=None)
        return promotion.promote(built, board, Path("models"), gate_rules, panel_for=panel_for)

    return run


@pytest.fixture(scope="session")
def promote(retrain: Callable[..., dict[str, Any]]) -> Callable[[Feed], champion.Champion]:
    """The first champion of a feed."""

    def run(feed: Feed) -> champion.Champion:
        assert retrain(feed)["champion"] == 1
        found = champion.champion(feed.name)
        assert found is not None
        return found

    return run


@pytest.fixture(scope="session")
def promote_event() -> Callable[[Feed], champion.Champion]:
    """Promote logistic regression of the event "above 75" beside whatever champion of quantiles there is."""

    def run(feed: Feed) -> champion.Champion:
        checked = ingest.check_feed(feed)
        built = build_panel(checked.observations, checked.static, feed)
        model = model_of(kind="logistic", head="event", event=EVENT)
        trained = trainer.train("logistic", built, model, Fit(), 1)
        folder = Path("models/logistic")
        digest = package.write(folder, "logistic", model, 1, built.meta, trained)
        results = event_board.compare(built, [package.load(folder)])
        event_board.write(Path("reports"), results, built, {"logistic": digest})
        rules = Promote(min_skill=-10.0, min_origins=1)
        facts = promotion.promote(
            built, Path("reports/events.json"), Path("models"), rules, "event"
        )
        assert facts["champion"] == 1, facts["reason"]
        found = champion.champion(feed.name, task="event")
        assert found is not None
        return found

    return run


@pytest.fixture(scope="session")
def berlin(
    promote: Callable[[Feed], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Feed]:
    """A project with two hourly series of Berlin and their champion, and the recipe of the feed."""
    folder, zone = tmp_path_factory.mktemp("berlin"), "Europe/Berlin"
    stamps = pd.date_range("2024-10-01", "2024-10-29", freq="h", tz=zone)
    rng = np.random.default_rng(0)
    y = 10 + 5 * np.sin(2 * np.pi * stamps.hour / 24)
    frames = [
        pd.DataFrame(
            {"id": name, "ds": stamps.tz_localize(None), "y": y + rng.normal(0, 1, len(y))}
        )
        for name in ("north", "south")
    ]
    feed = FileFeed(
        name="berlin", files=[RawFile(path="berlin.csv")], id="id", time=["ds"], frequency="h", timezone=zone,
        task=Task(horizon=6, season_length=24, splits=Splits(by="time", validation=72, test=72)),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pd.concat(frames).to_csv("berlin.csv", index=False)
        promote(feed)
    return folder, feed


@pytest.fixture
def hourly(project: Path, berlin: tuple[Path, Feed], monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """The project of Berlin, copied: its feed is scored every full hour."""
    folder, feed = berlin
    shutil.copytree(folder, project, dirs_exist_ok=True)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # for processes that fork
    return Clocked(feed.model_copy(), Schedule(cron="0 * * * *"))


@pytest.fixture(scope="session")
def forked() -> Callable[..., int]:
    """``forked(job, *given)``: number of a process that does a job; it ends with 0, or 1 if the job raised."""

    def run(job: Callable[..., Any], *given: Any) -> int:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                job(*given)
                status = 0
            finally:
                os._exit(status)
        return child

    return run


@pytest.fixture(scope="session")
def ended() -> Callable[[int], int]:
    """``ended(forked(job))``: its exit status; it is killed after two minutes."""

    def wait(child: int) -> int:
        late = threading.Timer(120, os.kill, [child, signal.SIGKILL])
        late.start()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            late.cancel()

    return wait


@pytest.fixture(scope="session")
def database(postgres_server: Postgres) -> str:
    return postgres_server.create("forecasts")


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket's address; credentials and endpoint are in the environment."""
    fsspec = pytest.importorskip(
        "s3fs", reason="s3fs is not installed (it wants a botocore of its own)"
    )
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(port, str(program), "-H", "127.0.0.1", "-p", str(port)),
    ):
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.S3FileSystem().mkdir("forecasts")
        yield "s3://forecasts"


@pytest.fixture
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> SinkSettings:
    """An empty sink of the kind that the test names, or a Parquet one in the store that it names."""
    name = f"sink_{uuid4().hex[:12]}"
    if request.param == "s3":
        return SinkSettings(kind="parquet", address=f"{request.getfixturevalue('s3')}/{name}")
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        execute(database, f"CREATE SCHEMA {name}")
        return SinkSettings(kind="postgres", address=f"{database}?options=-csearch_path%3D{name}")
    if request.param == "duckdb":
        return SinkSettings(kind="duckdb", address=str(tmp_path / f"{name}.duckdb"))
    if request.param == "memory":
        return SinkSettings(kind="parquet", address=f"memory://{name}/f")
    if request.param == "file":
        return SinkSettings(kind="parquet", address=f"file://{tmp_path}/{name}")
    return SinkSettings(kind=request.param, address=name)


@pytest.fixture
def sink(recipe: SinkSettings) -> Sink:
    return sinks.sink(recipe)
