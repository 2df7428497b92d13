"""One backtest for every predictor."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gatecast.core.errors import EvaluationError
from gatecast.data.config import Splits
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, rolling_origins, targets
from gatecast.evaluation import backtest as module
from gatecast.evaluation import baselines, metrics
from gatecast.evaluation.backtest import Backtest

Panels = Callable[..., Panel]
NAN = float("nan")


@pytest.fixture(scope="module")
def panel(make_panel: Panels) -> Panel:
    r = np.random.default_rng(0)
    return make_panel({k: r.normal(20, 3, 80) for k in ("north", "south", "west")})


def test_the_test_span_is_scored_from_its_rolling_origins(panel: Panel) -> None:
    backtest = Backtest.of(panel)
    expected = rolling_origins(panel, "test")
    np.testing.assert_array_equal(backtest.windows.origin, expected.origin)
    (_, known), *_ = backtest.targets()
    for i, o, y in zip(backtest.windows.series, backtest.windows.origin, known, strict=True):
        begin = panel.indptr[i] + o
        np.testing.assert_array_equal(y, panel.values[begin : begin + 3, 0])


def test_the_stride_can_be_chosen(panel: Panel) -> None:
    assert len(Backtest.of(panel, stride=1).windows) > len(Backtest.of(panel).windows)


def test_the_validation_span_can_be_scored(panel: Panel) -> None:
    last = Backtest.of(panel, "validation").windows.origin.max() + panel.meta.horizon
    assert last <= panel.split_points[1].max()


def test_scores_are_those_of_the_metrics(panel: Panel, shaped: Any) -> None:
    backtest = Backtest.of(panel)
    result = backtest.run(shaped(3))
    forecast = shaped(3).predict(panel, backtest.windows)
    whole = metrics.score(targets(panel, backtest.windows), forecast, metrics.scales(panel))
    assert result.pooled == whole.pooled()
    assert result.name == "shaped"
    assert len(result.series) == 3
    assert len(result.steps) == 3


def test_the_seasonal_naive_of_a_perfect_season_has_no_error(make_panel: Panels) -> None:
    season = np.tile([1.0, 5.0, 2.0, 9.0], 20) + np.repeat([0.0, 0.0001], 40)
    panel = make_panel({"a": season})
    result = Backtest.of(panel).run(baselines.seasonal_naive(3, 4))
    assert result.pooled["wape"] == pytest.approx(0, abs=1e-4)


def test_a_forecast_that_is_no_number_names_the_series(panel: Panel, shaped: Any) -> None:
    with pytest.raises(EvaluationError, match=r"NAN-FORECAST.*shaped.*'south'"):
        Backtest.of(panel).run(shaped(3, poison=1))


def test_an_infinite_quantile_is_no_number_either(panel: Panel, shaped: Any) -> None:
    class Infinite(shaped):  # type: ignore[misc]
        def predict(self, *args: Any) -> Any:
            forecast = super().predict(*args)
            forecast.values[0, 1, -1] = np.inf
            return forecast

    with pytest.raises(EvaluationError, match="NAN-FORECAST"):
        Backtest.of(panel).run(Infinite(3))


def test_no_number_is_asked_for_where_the_target_is_unknown(
    make_panel: Panels, shaped: Any
) -> None:
    values = np.random.default_rng(0).normal(size=80)
    panel = make_panel({"a": values, "b": values})
    backtest = Backtest.of(panel)
    unknown = panel.values.copy()
    unknown[panel.indptr[1] + 64 :] = NAN
    result = replace(backtest, panel=replace(panel, values=unknown)).run(shaped(3, poison=1))
    assert np.isfinite(result.pooled["mase"])
    assert result.pooled["values"] == 3 * (backtest.windows.series == 0).sum()


def test_a_span_without_origin_is_refused(make_panel: Panels) -> None:
    panel = make_panel(
        {"a": np.arange(60.0)}, splits=Splits(by="time", validation=10, test=2), feasible=False
    )
    with pytest.raises(EvaluationError, match=r"NO-ORIGIN.*test span"):
        Backtest.of(panel)


def test_every_predictor_meets_the_same_windows(panel: Panel, shaped: Any) -> None:
    backtest = Backtest.of(panel)
    results = [backtest.run(p) for p in (shaped(3), baselines.naive(3))]
    assert len({r.pooled["values"] for r in results}) == 1
    assert {r.n_windows for r in results} == {len(backtest.windows)}


def test_a_batch_is_dropped_once_it_is_scored(
    panel: Panel, shaped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCHES", 1)
    monkeypatch.setattr(module, "at_once", lambda _: 5)
    alive: list[int] = []

    class Watched(shaped):  # type: ignore[misc]
        def __init__(self, horizon: int) -> None:
            super().__init__(horizon)
            self.earlier: list[weakref.ref[np.ndarray]] = []

        def predict(self, source: Panel, windows: Windows) -> Any:
            assert len(windows) <= 5
            alive.append(sum(values() is not None for values in self.earlier))
            forecast = super().predict(source, windows)
            self.earlier.append(weakref.ref(forecast.values))
            return forecast

    Backtest.of(panel, stride=1).run(Watched(3))
    assert len(alive) > 5
    assert max(alive) == 1  # the one before
