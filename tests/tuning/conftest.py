"""A tiny panel in a project folder with a real MLflow store, and a search that takes a second a trial at most."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.registry.mlflow import runs, store
from gatecast.training.config import Fit
from gatecast.tuning import study
from gatecast.tuning.config import Range, Search
from gatecast.tuning.space import Space
from tests.recipes import model_of

GRU = model_of(cell="gru", hidden_size=4, n_steps=3, n_origins=2, dropout=0.1)
FIT = Fit(accelerator="cpu", max_epochs=2, steps_per_epoch=3, batch_size=8, threads=1)
UNITS = {"hidden_size": Range(low=2, high=8), "dropout": Range(low=0.0, high=0.5)}


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    """Three series of 200 hours with a season of twelve; another seed is other data."""

    def make(seed: int = 3) -> Panel:
        r, t = np.random.default_rng(seed), np.arange(200)
        ds = pd.date_range("2025-01-01", periods=len(t), freq="h")
        parts = [
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": ds,
                    "y": 20 + 6 * np.sin(2 * np.pi * t / 12 + k) + r.normal(0, 1, len(t)),
                }
            )
            for k, name in enumerate("abc")
        ]
        feed = Feed(
            name="tiny",
            frequency="h",
            task=Task(
                horizon=6, season_length=12, splits=Splits(by="time", validation=0.2, test=0.2)
            ),
        )
        statics = pd.DataFrame({"unique_id": list("abc")})
        return build_panel(pd.concat(parts, ignore_index=True), statics, feed)

    return make


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """The current folder is a project with nothing but the MLflow store."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def search(make_panel: Callable[..., Panel]) -> Callable[..., study.SearchResult]:
    """Tune a small GRU in so many trials: what was found."""

    def run(trials: int, space: dict[str, Range] = UNITS, fit: Fit = FIT) -> study.SearchResult:
        goal = objective(make_panel(), trials, space, fit)
        with runs.training_run("tiny", "gru tuning", {}, {}) as parent:
            return study.tune(goal, parent)

    return run


def objective(
    data: Panel, trials: int = 1, space: dict[str, Range] = UNITS, fit: Fit = FIT
) -> study.Objective:
    wanted = Search(trials=trials, space=space)
    return study.Objective(
        "gru", data, Space.of(wanted, "gru", GRU, fit, "here"), wanted, "mase", 1
    )


@pytest.fixture(scope="session")
def make_objective() -> Callable[..., study.Objective]:
    return objective


@pytest.fixture
def trial_runs() -> Callable[[], list[Any]]:
    """The MLflow runs of the trials, oldest first."""

    def runs() -> list[Any]:
        result = store.client().search_runs(
            [store.experiment("tiny")], order_by=["attributes.start_time ASC"]
        )
        return [run for run in result if "mlflow.parentRunId" in run.data.tags]

    return runs
