"""Paired resamples of series and origins, and scores by segment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import targets
from gatecast.evaluation import bootstrap, segments
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.bootstrap import Cells
from gatecast.evaluation.config import METRICS
from gatecast.evaluation.metrics.aggregations import Sums, mean_of_series
from gatecast.evaluation.segments import Segment

N, SERIES, H = 240, 9, 6


@pytest.fixture(scope="module")
def source() -> Panel:
    """Nine series of growing volume, two kinds; the last begins late, one has gaps, one is constant."""
    r = np.random.default_rng(3)
    parts = []
    for i in range(SERIES):
        t = np.arange(N)
        y = 10 * (i + 1) + 3 * np.sin(2 * np.pi * t / 12) + r.normal(0, 1, N)
        y[::7] = np.nan if i == 1 else y[::7]
        y[:] = 5.0 if i == 2 else y
        first = 200 if i == SERIES - 1 else 0
        ds = pd.date_range("2025-01-01", periods=N, freq="h").as_unit("us")
        kind = "shop" if i < 6 else "office"
        frame = pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": y, "kind": kind})
        parts.append(frame.iloc[first:])
    table = pd.concat(parts, ignore_index=True).astype({"unique_id": "str", "kind": "str"})
    feed = Feed(
        name="tiny",
        frequency="h",
        covariates=Covariates(static=["kind"], past=[], future=[], categorical=["kind"]),
        task=Task(horizon=H, season_length=12, splits=Splits(by="time", validation=0.2, test=0.3)),
    )
    static = table[["unique_id", "kind"]].drop_duplicates()
    return build_panel(table.drop(columns="kind"), static, feed)


@pytest.fixture(scope="module")
def backtest(source: Panel) -> Backtest:
    return Backtest.of(source)


def noisy(backtest: Backtest, size: float | np.ndarray, seed: int = 0) -> QuantileForecast:
    """The truth and an error of this size ((n, 1) or a number), with an interval around it."""
    r = np.random.default_rng(seed)
    y = targets(backtest.panel, backtest.windows)
    point = np.nan_to_num(y) + r.normal(size=y.shape) * size
    steps = np.linspace(-1, 1, len(QUANTILES))
    return QuantileForecast((point[..., None] + steps).astype(np.float32), backtest.windows)


class Always:
    """A predictor that answers what it is given."""

    name, horizon = "always", H

    def __init__(self, forecast: QuantileForecast) -> None:
        self.forecast = forecast

    def predict(self, *_: object) -> QuantileForecast:
        return self.forecast


def cells_of(backtest: Backtest, forecast: QuantileForecast, metric: str) -> Cells:
    found = Cells.of_backtest(backtest, metric)
    backtest.run(Always(forecast), found)
    return found


def cells(
    backtest: Backtest, size: float | np.ndarray, metric: str = "mase", seed: int = 0
) -> Cells:
    return cells_of(backtest, noisy(backtest, size, seed), metric)


@pytest.mark.parametrize("metric", METRICS)
def test_everything_counted_once_is_the_leaderboards_score(backtest: Backtest, metric: str) -> None:
    forecast = noisy(backtest, 1.0)
    expected = backtest.run(Always(forecast)).pooled[metric]
    found = cells_of(backtest, forecast, metric).score(np.ones((SERIES, 1)))
    assert found == pytest.approx([expected], rel=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_a_series_drawn_twice_counts_as_if_it_were_there_twice(
    backtest: Backtest, metric: str
) -> None:
    """Its windows and those of a block drawn twice, repeated in the table of windows."""
    forecast = noisy(backtest, 1.0)
    every = cells_of(backtest, forecast, metric)
    block = bootstrap.blocks(backtest.panel, backtest.windows)
    series, origins = np.ones((SERIES, 1)), np.ones((every.sums.total.shape[1], 1))
    series[4], series[0], origins[1] = 2, 0, 2
    if metric in ("wape", "wql"):
        times = (series[backtest.windows.series, 0] * origins[block, 0]).astype(int)
        rows = np.repeat(np.arange(len(block)), times)
        again = replace(backtest, windows=backtest.windows[rows])
        expected = again.run(Always(QuantileForecast(forecast.values[rows], again.windows))).pooled[
            metric
        ]
    else:
        rows = np.repeat(np.arange(len(block)), origins[block, 0].astype(int))
        again = replace(backtest, windows=backtest.windows[rows])
        table = again.run(Always(QuantileForecast(forecast.values[rows], again.windows))).series[
            metric
        ]
        weight = series[:, 0] * table.notna()
        expected = float((table.fillna(0) * weight).sum() / weight.sum())
    assert every.score(series, origins) == pytest.approx([expected], rel=1e-6)


def test_equal_forecasts_gain_nothing_in_any_resample(backtest: Backtest) -> None:
    a = cells(backtest, 1.0)
    assert np.all(bootstrap.gains(a, a) == 0)


def test_a_clearly_better_forecast_gains_in_every_resample(backtest: Backtest) -> None:
    drawn = bootstrap.gains(cells(backtest, 0.5), cells(backtest, 1.0, seed=1))
    assert len(drawn) == bootstrap.DRAWS
    assert drawn[0] > 0.1
    assert np.all(np.diff(drawn) >= 0)


def test_a_gain_in_a_single_series_is_not_sure(backtest: Backtest) -> None:
    """The mean is better by a third of one series; resamples without that series show none."""
    size = np.where(backtest.windows.series == 0, 3.0, 1.0)[:, None]
    drawn = bootstrap.gains(cells(backtest, 1.0), cells(backtest, size))
    assert np.median(drawn) > 0.1
    assert np.mean(drawn == 0) == pytest.approx((1 - 1 / SERIES) ** SERIES, abs=0.05)


def test_a_gain_at_a_single_time_is_not_sure(backtest: Backtest) -> None:
    block = bootstrap.blocks(backtest.panel, backtest.windows)
    many = block.max() + 1
    size = np.where(block == 0, 5.0, 1.0)[:, None]
    drawn = bootstrap.gains(cells(backtest, 1.0), cells(backtest, size))
    assert np.median(drawn) > 0.1
    assert np.mean(drawn == 0) == pytest.approx((1 - 1 / many) ** many, abs=0.05)


def test_the_same_question_has_the_same_answer(backtest: Backtest) -> None:
    a, b = cells(backtest, 0.9), cells(backtest, 1.0, seed=1)
    np.testing.assert_array_equal(bootstrap.gains(a, b), bootstrap.gains(a, b))


def test_a_large_panel_is_resampled_in_parts_with_the_same_result(
    backtest: Backtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = cells(backtest, 0.9), cells(backtest, 1.0, seed=1)
    whole = bootstrap.gains(a, b)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 64)  # two resamples at a time
    parts = bootstrap.gains(a, b)
    assert len(parts) == bootstrap.DRAWS
    assert np.quantile(parts, 0.05) == pytest.approx(np.quantile(whole, 0.05), abs=0.02)


def test_an_interval_of_resamples_holds_the_true_gain_as_often_as_it_says() -> None:
    """Independent errors of two equal models: a bound at 90 % lies above 0 in at most a tenth of all panels."""
    r = np.random.default_rng(1)
    above = 0
    for _ in range(200):
        size = np.ones((15, 12))
        sums = [Sums(r.gamma(2, 1, size.shape), size, size) for _ in "ab"]
        a, b = (Cells("mase", mean_of_series, s) for s in sums)
        above += np.quantile(bootstrap.gains(a, b, 200), 0.1) > 0
    assert above <= 30  # 20 expected, and fewer: the resamples err on the side of caution


def matured(backtest: Backtest) -> float:
    known = ~np.isnan(targets(backtest.panel, backtest.windows))
    return bootstrap.matured(backtest.panel, backtest.windows, known.mean(1))


def test_overlapping_origins_are_one_block(source: Panel) -> None:
    each, every = Backtest.of(source), Backtest.of(source, stride=1)
    assert len(every.windows) > 5 * len(each.windows)
    many = bootstrap.blocks(source, every.windows).max() + 1
    assert many == bootstrap.blocks(source, each.windows).max() + 1
    assert matured(every) == pytest.approx(matured(each), rel=0.05)


def test_an_origin_whose_targets_are_mostly_unknown_counts_for_the_part_that_is_known(
    backtest: Backtest,
) -> None:
    assert matured(backtest) < len(backtest.windows)  # the gaps of one series
    known = ~np.isnan(targets(backtest.panel, backtest.windows))
    known[:, H // 2 :] = False
    half = bootstrap.matured(backtest.panel, backtest.windows, known.mean(1))
    assert half == pytest.approx(matured(backtest) / 2, rel=0.05)


def test_cells_of_events_add_up_to_the_brier_score_of_what_is_known(source: Panel) -> None:
    every, r = Backtest.of(source, stride=1), np.random.default_rng(4)
    p, label = r.random(len(every.windows)), r.integers(0, 2, len(every.windows)) * 1.0
    label[r.random(len(label)) < 0.3] = np.nan
    found = Cells.of_events(source, every.windows, (p - label) ** 2)
    shape = found.sums.total.shape
    assert shape[0] == len(np.unique(every.windows.series))
    expected = np.nanmean((p - label) ** 2)
    assert found.score(np.ones((shape[0], 1)))[0] == pytest.approx(expected)
    twice = np.full((shape[0], 1), 2.0)
    assert found.score(twice)[0] == pytest.approx(expected)
    half_as_far = ((p + label) / 2 - label) ** 2
    half = bootstrap.gains(Cells.of_events(source, every.windows, half_as_far), found)
    np.testing.assert_allclose(half, 0.75)  # half the error is a quarter of its square


def test_series_without_a_common_clock_share_the_place_before_their_end(source: Panel) -> None:
    meta = replace(source.meta, splits={"by": "series_end", "validation": 24, "test": 24})
    windows = Backtest.of(replace(source, meta=meta)).windows
    found = bootstrap.blocks(replace(source, meta=meta), windows)
    assert found.max() + 1 == 4
    assert np.all(np.bincount(found) == SERIES)


def compare(backtest: Backtest, a: Cells, b: Cells, least: int = 1) -> list[Segment]:
    scores = backtest.run(Always(noisy(backtest, 1.0))).scores
    return segments.compare(segments.segments(backtest.panel, scores, least), a, b)


def test_segments_are_values_of_static_columns_and_thirds_by_volume(backtest: Backtest) -> None:
    size = np.where(backtest.windows.series < 6, 0.5, 2.0)[:, None]
    a, b = cells(backtest, size), cells(backtest, 1.0)
    found = {s.name: s for s in compare(backtest, a, b)}
    assert set(found) == {
        *("kind shop", "kind office"),
        *("volume low", "volume middle", "volume high"),
    }
    assert {s.series for name, s in found.items() if name.startswith("volume")} == {3}
    assert (found["kind shop"].series, found["kind office"].series) == (6, 3)
    assert found["kind shop"].challenger < found["kind shop"].champion
    assert found["kind office"].challenger > found["kind office"].champion
    assert found["volume high"].challenger > 1.5 * found["volume high"].champion


def test_a_segment_of_few_series_says_nothing(backtest: Backtest) -> None:
    a = cells(backtest, 1.0)
    assert [s.name for s in compare(backtest, a, a, 4)] == ["kind shop"]
    assert compare(backtest, a, a, 7) == []


def test_a_segment_without_a_score_is_left_out(backtest: Backtest) -> None:
    """The constant series has no scale, so no mase."""
    kinds = backtest.panel.series.assign(kind=[0, 0, 1, *[0] * 6])
    alone = replace(backtest, panel=replace(backtest.panel, series=kinds))
    a = cells(alone, 1.0)
    assert "kind office" not in [s.name for s in compare(alone, a, a)]
    b = cells(alone, 1.0, "smape")
    assert "kind office" in [s.name for s in compare(alone, b, b)]


@pytest.mark.parametrize(
    ("score", "reference", "expected"),
    [(1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (1.0, 0.0, -np.inf), (np.nan, 1.0, np.nan)],
)
def test_a_gain_over_no_error_is_none_or_a_loss(
    score: float, reference: float, expected: float
) -> None:
    np.testing.assert_equal(float(bootstrap.gain(score, reference)), expected)
