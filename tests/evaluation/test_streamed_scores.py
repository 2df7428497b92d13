"""Scores that are accumulated batch by batch are those of all windows held at once.

``scores_before_streaming.json`` was written by the code before, which held every forecast and statistic, of the
panel, the windows and the forecasts below (its WQL restricted to the nine deciles).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, targets
from gatecast.evaluation import backtest as backtests
from gatecast.evaluation import bootstrap, events, segments
from gatecast.evaluation.backtest import Backtest, Result
from gatecast.evaluation.bootstrap import Cells

N, SERIES, H = 240, 9, 6
BEFORE: dict[str, Any] = json.loads(
    Path(__file__).with_name("scores_before_streaming.json").read_text()
)
METRICS = ("mase", "smape", "rmsse", "wape", "wql")


@pytest.fixture(scope="module")
def source() -> Panel:
    """Nine series of growing volume, two kinds; the last begins late, one has gaps, one is constant."""
    r = np.random.default_rng(3)
    frames = []
    for i in range(SERIES):
        t = np.arange(N)
        y = 10 * (i + 1) + 3 * np.sin(2 * np.pi * t / 12) + r.normal(0, 1, N)
        y[::7] = np.nan if i == 1 else y[::7]
        y[:] = 5.0 if i == 2 else y
        first = 200 if i == SERIES - 1 else 0
        ds = pd.date_range("2025-01-01", periods=N, freq="h").as_unit("us")
        kind = "shop" if i < 6 else "office"
        frame = pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": y, "kind": kind})
        frames.append(frame.iloc[first:])
    table = pd.concat(frames, ignore_index=True).astype({"unique_id": "str", "kind": "str"})
    feed = Feed(
        name="tiny",
        frequency="h",
        covariates=Covariates(static=["kind"], past=[], future=[], categorical=["kind"]),
        task=Task(horizon=H, season_length=12, splits=Splits(by="time", validation=0.2, test=0.3)),
    )
    static = table[["unique_id", "kind"]].drop_duplicates()
    return build_panel(table.drop(columns="kind"), static, feed)


class Noisy:
    """A predictor that answers the truth and an error, with an interval around it."""

    name, horizon = "noisy", H

    def __init__(self, backtest: Backtest, seed: int, size: float) -> None:
        self.windows = backtest.windows
        r = np.random.default_rng(seed)
        y = targets(backtest.panel, backtest.windows)
        point = np.nan_to_num(y, nan=7.0) + r.normal(size=y.shape) * size
        self.values = (point[..., None] + np.linspace(-1, 1, len(QUANTILES))).astype(np.float32)

    def predict(self, _: Panel, windows: Windows) -> QuantileForecast:
        keys = self.windows.series * 1000 + self.windows.origin
        rows = np.searchsorted(keys, windows.series * 1000 + windows.origin)
        return QuantileForecast(self.values[rows], windows)


@pytest.fixture(scope="module")
def backtest(source: Panel) -> Backtest:
    return Backtest.of(source, stride=2)


@pytest.fixture(scope="module", params=[1, 7, 40, 1000], ids="{} windows a batch".format)
def batch_size(request: pytest.FixtureRequest) -> Any:
    """Batches that cut series, hold one series, several, or everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backtests, "_BATCHES", 1)
        patch.setattr(backtests, "at_once", lambda _: request.param)
        yield request.param


@pytest.fixture(scope="module")
def runs(backtest: Backtest, batch_size: int) -> tuple[Result, dict[str, tuple[Cells, Cells]]]:
    """The result of a predictor, and the cells of it and of a worse one by metric."""
    pairs = {m: tuple(Cells.of_backtest(backtest, m) for _ in range(2)) for m in METRICS}
    result = backtest.run(Noisy(backtest, 0, 1.0), *(a for a, _ in pairs.values()))
    backtest.run(Noisy(backtest, 1, 1.2), *(b for _, b in pairs.values()))
    return result, pairs


def same(found: Any, before: Any) -> None:
    np.testing.assert_allclose(
        np.asarray(found, float), np.asarray(before, float), rtol=1e-9, atol=1e-12
    )


def test_pooled_scores(runs: Any, backtest: Backtest) -> None:
    pooled = runs[0].pooled
    assert len(backtest.windows) == BEFORE["windows"]
    for name, value in (BEFORE["pooled"] | {"wql": BEFORE["wql"]["pooled"]}).items():
        same(pooled[name], value)


def test_scores_of_each_series(runs: Any) -> None:
    table, before = runs[0].series, BEFORE["series"]
    direct = ("mase", "smape", "rmsse", "wape", "mse_z", "mae_z", "coverage_95", "coverage_80")
    for name in (*direct, "sum_y", "n"):
        same(table[name], before[name])
    same(table["wape"] * table["sum_y"], before["sum_abs"])
    same(table["bias"] * table["sum_y"], before["sum_bias"])
    same(table["wql"] * table["sum_y"], 2 * np.array(BEFORE["wql"]["sum_pinball"]))
    for name in ("width_95", "width_80"):  # were in units of the target
        same(table[name] * table["sum_y"] / table["n"], before[name])


def test_scores_of_each_step(runs: Any) -> None:
    steps = runs[0].steps
    for name, values in (BEFORE["steps"] | {"wql": BEFORE["wql"]["steps"]}).items():
        same(steps[name], values)


def test_calibration(runs: Any) -> None:
    same(runs[0].scores.calibration(), BEFORE["calibration"])


@pytest.mark.parametrize("metric", METRICS)
def test_cells_of_the_gate(metric: str, runs: Any) -> None:
    cells, before = runs[1][metric][0], BEFORE["cells"][metric]
    same(cells.sums.total, before["error"])
    same(cells.sums.size if metric in ("wape", "wql") else cells.sums.count, before["size"])


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_of_the_gate(metric: str, runs: Any) -> None:
    same(bootstrap.gains(*runs[1][metric])[::100], BEFORE["gains"][metric])


@pytest.mark.parametrize("metric", METRICS)
def test_segments_of_the_gate(metric: str, runs: Any, backtest: Backtest) -> None:
    members = segments.segments(backtest.panel, runs[0].scores, 1)
    found = segments.compare(members, *runs[1][metric])
    before = BEFORE["segments"][metric]
    assert [(s.name, s.series) for s in found] == [(name, n) for name, n, _, _ in before]
    same([(s.challenger, s.champion) for s in found], [pair for _, _, *pair in before])


def test_matured_origins(backtest: Backtest, batch_size: int) -> None:
    known = np.concatenate([1 - np.isnan(y).mean(1) for _, y in backtest.targets()])
    same(bootstrap.matured(backtest.panel, backtest.windows, known), BEFORE["matured"])


def test_scores_and_cells_of_events(backtest: Backtest) -> None:
    event = {"above": 45.0}
    test = events.EventBacktest(backtest.panel, backtest.windows)
    label = test.labels(event)
    p = np.sort(np.random.default_rng(5).random(label.shape), 1)
    before = BEFORE["event"]
    for name, value in events.scores(p[:, -1], label[:, -1]).items():
        # base rates were means in single precision
        assert value == pytest.approx(before["scores"][name], rel=1e-7)
    for name, score in (("auroc", events.auroc), ("brier", events.brier)):
        pairs = zip(p.T, label.T, strict=True)
        same([score(*pair) for pair in pairs], before["steps"][name])
    error = events.squared_error(p[:, -1], label[:, -1])
    cells = Cells.of_events(backtest.panel, backtest.windows, error)
    same(cells.sums.total, before["cells"]["error"])
    same(cells.sums.count, before["cells"]["size"])
