"""Small panels for the tests of the training floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Demo, DemoFeed, Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.training.config import Fit

START = pd.Timestamp("2025-01-01")


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    """A panel from arrays: ``make(a=[...], b=[...])``; NaN is unknown; ``columns`` adds covariates by series."""

    def make(
        series: dict[str, Any],
        columns: dict[str, dict[str, Any]] | None = None,
        static: dict[str, dict[str, Any]] | None = None,
        covariates: Covariates | None = None,
        horizon: int = 3,
        season_length: int = 4,
        splits: Splits | None = None,
        begin: dict[str, int] | None = None,
        feasible: bool = True,
    ) -> Panel:
        frames = []
        for name, values in series.items():
            first = (begin or {}).get(name, 0)
            ds = pd.date_range(START, periods=first + len(values), freq="h")[first:]
            frame = pd.DataFrame({"unique_id": name, "ds": ds, "y": np.asarray(values, float)})
            for column, by_series in (columns or {}).items():
                frame[column] = by_series[name]
            frames.append(frame)
        statics = pd.DataFrame({"unique_id": list(series)})
        for column, by_series in (static or {}).items():
            statics[column] = statics["unique_id"].map(by_series)
        feed = Feed(
            name="tiny",
            frequency="h",
            covariates=covariates or Covariates(),
            task=Task(
                horizon=horizon,
                season_length=season_length,
                splits=splits or Splits(by="time", validation=0.2, test=0.2),
            ),
        )
        return build_panel(pd.concat(frames, ignore_index=True), statics, feed, feasible=feasible)

    return make


@pytest.fixture(scope="session")
def demo_panel() -> Panel:
    """Twelve series of forty days of the embedded demo, every kind of channel in it."""
    feed = DemoFeed(
        name="demo",
        kind="demo",
        frequency="h",
        demo=Demo(n_series=12, n_days=40),
        covariates=Covariates(
            static=["region", "kind"],
            past=[],
            future=["temperature", "promotion", "holiday"],
            categorical=["region", "kind"],
        ),
        task=Task(
            horizon=24,
            season_length=24,
            splits=Splits(by="time", validation=0.15, test=0.2),
            event={"above": 150.0},
        ),
    )
    checked = ingest.check_feed(feed)
    return build_panel(checked.observations, checked.static, feed)


@pytest.fixture(scope="session")
def smoke() -> Fit:
    """A trainer recipe of a few steps on the CPU."""
    return Fit(
        accelerator="cpu",
        max_epochs=2,
        steps_per_epoch=4,
        batch_size=8,
        max_validation_windows=16,
        threads=1,
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder to train in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
