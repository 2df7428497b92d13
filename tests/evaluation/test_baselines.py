"""Naive forecasts by hand."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.forecast import QUANTILES
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.evaluation import baselines

Panels = Callable[..., Panel]
NAN = float("nan")


def point(make_panel: Panels, values: list[float], horizon: int, season: int) -> list[float]:
    """Seasonal naive forecast from the end of a series."""
    panel = make_panel({"a": [*values, 0.0]}, horizon=horizon, feasible=False)
    window = Windows(np.array([0]), np.array([len(values)]))
    model = baselines.SeasonalNaive(horizon, season, "test")
    return model.predict(panel, window).median[0].tolist()


def test_naive_repeats_the_last_value(make_panel: Panels) -> None:
    assert point(make_panel, [5, 3, 8], 4, 1) == [8, 8, 8, 8]


def test_naive_skips_a_missing_last_value(make_panel: Panels) -> None:
    assert point(make_panel, [5, 3, 8, NAN, NAN], 2, 1) == [8, 8]


def test_naive_remembers_a_value_from_before_a_long_gap(make_panel: Panels) -> None:
    assert point(make_panel, [5, 3] + [NAN] * 500, 2, 1) == [3, 3]


def test_seasonal_naive_repeats_the_last_season(make_panel: Panels) -> None:
    assert point(make_panel, [9, 9, 9, 1, 2, 3], 3, 3) == [1, 2, 3]


def test_a_horizon_longer_than_the_season_wraps(make_panel: Panels) -> None:
    assert point(make_panel, [1, 2, 3], 7, 3) == [1, 2, 3, 1, 2, 3, 1]


def test_a_missing_season_is_taken_from_the_one_before(make_panel: Panels) -> None:
    assert point(make_panel, [1, 2, 3, 10, NAN, 30], 3, 3) == [10, 2, 30]


def test_a_phase_that_was_never_known_is_the_last_value(make_panel: Panels) -> None:
    assert point(make_panel, [1, NAN, 3, 10, NAN, 30], 3, 3) == [10, 30, 30]


def test_a_history_shorter_than_a_season_fills_up_with_the_last_value(make_panel: Panels) -> None:
    assert point(make_panel, [4, 6], 5, 5) == [6, 6, 6, 4, 6]


def test_a_series_that_has_no_value_yet_has_no_forecast(make_panel: Panels) -> None:
    panel = make_panel({"a": [1.0, 2.0, 3.0]}, feasible=False)
    forecast = baselines.naive(3).predict(panel, Windows(np.array([0]), np.array([0])))
    assert np.isnan(forecast.values).all()


def test_no_series_is_forecast_from_its_neighbour(make_panel: Panels) -> None:
    panel = make_panel({"a": [1.0, 2.0, 3.0], "b": [50.0, NAN, 70.0]}, feasible=False)
    forecast = baselines.naive(3).predict(panel, Windows(np.array([1, 0]), np.array([2, 2])))
    assert forecast.median[:, 0].tolist() == [50, 2]


def test_intervals_grow_with_the_root_of_the_step(make_panel: Panels) -> None:
    """FPP3 5.5: sigma sqrt(h) with sigma from the errors of the naive method on the past."""
    y = np.random.default_rng(0).normal(100, 5, 30)
    panel = make_panel({"a": y}, horizon=4, feasible=False)
    values = baselines.naive(4).predict(panel, Windows(np.array([0]), np.array([29]))).values[0]
    sigma = np.sqrt(np.mean(np.diff(y[:29]) ** 2))
    z = np.array([NormalDist().inv_cdf(q) for q in QUANTILES])
    expected = y[28] + sigma * np.sqrt(np.arange(1, 5))[:, None] * z
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_seasonal_intervals_grow_with_the_root_of_the_season(make_panel: Panels) -> None:
    """FPP3 5.5: sigma sqrt(k + 1) with k the whole seasons before the step."""
    y = np.random.default_rng(0).normal(100, 5, 24)
    panel = make_panel({"a": [*y, 0.0]}, horizon=7, feasible=False)
    model = baselines.seasonal_naive(7, 3)
    values = model.predict(panel, Windows(np.array([0]), np.array([24]))).values[0]
    sigma = np.sqrt(np.mean((y[3:] - y[:-3]) ** 2))
    width = sigma * np.sqrt([1, 1, 1, 2, 2, 2, 3])
    expected = y[21 + np.arange(7) % 3] + width * NormalDist().inv_cdf(0.975)
    np.testing.assert_allclose(values[:, -1], expected, rtol=1e-5)


def test_a_constant_series_has_an_interval_of_no_width(make_panel: Panels) -> None:
    panel = make_panel({"a": [7.0] * 20}, feasible=False)
    values = baselines.naive(3).predict(panel, Windows(np.array([0]), np.array([15]))).values
    assert np.unique(values).tolist() == [7.0]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_newest_known_value_of_the_phase_wins(data: st.DataObject, make_panel: Panels) -> None:
    """The rule in words, as a loop: up to eight seasons back, else the last known value."""
    season, horizon = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    r = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    y = r.integers(1, 1000, data.draw(st.integers(2, 80))).astype(float)
    y[r.random(len(y)) < data.draw(st.sampled_from([0.0, 0.4, 0.9]))] = NAN
    y[0] = 5.0
    reach = max(8 * season, 32 // season * season)
    last = y[~np.isnan(y)][-1]
    expected = []
    for k in range(horizon):
        back = [len(y) - season + k % season - j * season for j in range(reach // season)]
        known = [y[t] for t in back if t >= 0 and not np.isnan(y[t])]
        expected.append(known[0] if known else last)
    assert point(make_panel, y.tolist(), horizon, season) == expected


def test_nothing_after_the_origin_is_seen(make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(size=40)
    other = y.copy()
    other[30:] = 1e6
    window = Windows(np.array([0]), np.array([30]))
    a, b = (
        baselines.seasonal_naive(3, 4).predict(make_panel({"a": v}, feasible=False), window).values
        for v in (y, other)
    )
    np.testing.assert_array_equal(a, b)


def test_many_windows_are_forecast_in_chunks(
    make_panel: Panels, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel({"a": np.random.default_rng(0).normal(size=60)})
    windows = Windows(np.zeros(10, np.int64), np.arange(20, 30))
    model = baselines.seasonal_naive(3, 4)
    whole = model.predict(panel, windows).values
    monkeypatch.setattr(baselines, "_CHUNK", 3)
    np.testing.assert_array_equal(model.predict(panel, windows).values, whole)


def test_no_window_gives_an_empty_forecast(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    none = Windows(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert baselines.naive(3).predict(panel, none).values.shape == (0, 3, len(QUANTILES))


def test_baselines_are_called_by_their_names() -> None:
    assert baselines.naive(3).name == "naive"
    assert baselines.seasonal_naive(3, 4).name == "seasonal_naive"
