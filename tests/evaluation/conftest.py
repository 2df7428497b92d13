"""Small panels and simple predictors for the tests of the evaluation floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Demo, DemoFeed, Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows

START = pd.Timestamp("2025-01-01")


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    """A panel from arrays: ``make({"a": [...], "b": [...]})``; NaN is unknown."""

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
        stride: int | None = None,
        frequency: str = "h",
        **feed: Any,
    ) -> Panel:
        frames = []
        for name, values in series.items():
            first = (begin or {}).get(name, 0)
            ds = pd.date_range(START, periods=first + len(values), freq=frequency)[first:]
            frame = pd.DataFrame({"unique_id": name, "ds": ds, "y": np.asarray(values, float)})
            for column, by_series in (columns or {}).items():
                frame[column] = by_series[name]
            frames.append(frame)
        statics = pd.DataFrame({"unique_id": list(series)})
        for column, by_series in (static or {}).items():
            statics[column] = statics["unique_id"].map(by_series)
        recipe = Feed(
            name="tiny",
            frequency=frequency,
            covariates=covariates or Covariates(),
            task=Task(
                horizon=horizon,
                season_length=season_length,
                stride=stride,
                splits=splits or Splits(by="time", validation=0.2, test=0.2),
            ),
            **feed,
        )
        return build_panel(pd.concat(frames, ignore_index=True), statics, recipe, feasible=feasible)

    return make


@pytest.fixture(scope="session")
def demo_feed() -> Feed:
    """Twelve series of forty days of the embedded demo."""
    return DemoFeed(
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


@pytest.fixture(scope="session")
def demo_frame(demo_feed: Feed) -> pd.DataFrame:
    """The demo as the long table that a user has."""
    checked = ingest.check_feed(demo_feed)
    return checked.observations.merge(checked.static, on="unique_id")


@pytest.fixture(scope="session")
def demo_panel(demo_feed: Feed) -> Panel:
    checked = ingest.check_feed(demo_feed)
    return build_panel(checked.observations, checked.static, demo_feed)


@dataclass
class Shaped:
    """A predictor that answers ``base`` + 1, 2, 3, … over the steps, with quantiles around it."""

    horizon: int
    base: float = 10.0
    name: str = "shaped"
    poison: int | None = None  # number of the series whose forecast is NaN

    def predict(self, panel: Panel, windows: Windows) -> QuantileForecast:
        step = self.base + 1 + np.arange(self.horizon)
        values = step[None, :, None] + 4 * (np.array(QUANTILES) - 0.5)
        values = np.repeat(values, len(windows), 0).astype(np.float32)
        values[windows.series == self.poison] = np.nan
        return QuantileForecast(values, windows)


@pytest.fixture(scope="session")
def shaped() -> type[Shaped]:
    return Shaped
