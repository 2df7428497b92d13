"""Scores of event forecasts as scikit-learn has them, and the baselines a net has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as reference_log_loss

from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import EventForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, targets
from gatecast.evaluation import events
from gatecast.evaluation.events import (
    EventBacktest,
    Persistence,
    auroc,
    brier,
    log_loss,
    outcome,
    reliability,
    scores,
)
from gatecast.models.events import labels

Panels = Callable[..., Panel]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float64, 40, elements=st.integers(0, 8).map(lambda k: k / 8)),
    hnp.arrays(np.bool_, 40),
)
def test_scores_are_those_of_scikit_learn(p: np.ndarray, label: np.ndarray) -> None:
    y = label.astype(float)
    assert brier(p, y) == pytest.approx(brier_score_loss(y, p, labels=[0, 1]))
    inside = p.clip(1e-6, 1 - 1e-6)
    assert log_loss(inside, y) == pytest.approx(reference_log_loss(y, inside, labels=[0, 1]))
    if 0 < y.sum() < 40:
        assert auroc(p, y) == pytest.approx(roc_auc_score(y, p))
    else:
        assert np.isnan(auroc(p, y))


def test_the_reliability_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(500) * 0.9 + 0.03
    y = (rng.random(500) < p**2).astype(float)
    table = reliability(p, y, bins=7)
    observed, forecast = calibration_curve(y, p, n_bins=7)
    np.testing.assert_allclose(table["observed"], observed)
    np.testing.assert_allclose(table["forecast"], forecast)
    assert table["n"].sum() == 500


def test_certain_forecasts_fall_into_the_outer_bins() -> None:
    assert reliability(np.array([0.0, 1.0]), np.array([0.0, 1.0])).index.tolist() == [0, 9]


def test_unknown_labels_count_nowhere() -> None:
    p, y = np.array([0.1, 0.9, 0.5, 0.7]), np.array([0.0, 1.0, np.nan, 1.0])
    known = ~np.isnan(y)
    assert brier(p, y) == brier(p[known], y[known])
    assert auroc(p, y) == auroc(p[known], y[known]) == 1.0
    assert reliability(p, y)["n"].sum() == 3
    assert np.isnan(brier(p[:0], y[:0]))


def test_skill_is_the_part_of_the_base_rates_error_that_is_gone() -> None:
    y = np.array([0.0, 1.0, 1.0, 1.0, np.nan])
    found = scores(np.array([0.1, 0.9, 0.9, 0.9, 0.5]), y)
    assert found["base_rate"] == 0.75
    assert found["values"] == 4
    assert found["skill"] == pytest.approx(1 - 0.01 / (0.75 * 0.25))
    assert scores(np.full(5, 0.75), y)["skill"] == 0.0
    assert np.isnan(scores(np.ones(2), np.ones(2))["skill"])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (3, 5), elements=st.sampled_from([0.0, 2.0, float("nan")])))
@pytest.mark.parametrize("side", ["above", "below"])
def test_what_happened_is_what_training_was_told(side: str, y: np.ndarray) -> None:
    known = ~np.isnan(y)
    label, sure = labels(
        torch.tensor(np.nan_to_num(y, nan=9e9)), torch.tensor(known).float(), {side: 1.0}
    )
    expected = np.where(sure.numpy() > 0, label.numpy(), np.nan)
    np.testing.assert_array_equal(outcome(y, {side: 1.0}), expected)


def some_windows(panel: Panel) -> Windows:
    origins = np.arange(8, 36)
    return Windows(
        np.repeat(np.arange(panel.n_series), len(origins)), np.tile(origins, panel.n_series)
    )


@pytest.fixture
def panel(make_panel: Panels) -> Panel:
    """Regimes of eight steps above and below, and gaps."""
    rng = np.random.default_rng(0)
    regime = np.repeat([0.0, 10.0] * 10, 8)
    series = {name: regime + rng.normal(size=160) for name in "abc"}
    series["b"][[9, 10, 21]] = np.nan
    return make_panel(series)


@pytest.mark.parametrize("event", [{"above": 5.0}, {"below": 5.0}], ids=str)
def test_baselines_answer_probabilities_that_do_not_fall_and_beat_a_coin(
    event: dict[str, float], panel: Panel
) -> None:
    backtest = EventBacktest.of(panel)
    predictors = events.baselines(panel, event)
    persistence, logistic = (backtest.run(p, event) for p in predictors)
    assert (persistence.name, logistic.name) == ("persistence", "logistic")
    for predictor, result in zip(predictors, (persistence, logistic), strict=True):
        p = predictor.predict(panel, backtest.windows).probability
        np.testing.assert_array_equal(result.probability, p[:, -1])
        assert ((p >= 0) & (p <= 1)).all()
        assert (np.diff(p, axis=1) >= 0).all()
        assert result.pooled["auroc"] > 0.7
        assert result.pooled["skill"] > 0.1
        assert list(result.steps["step"]) == [1, 2, 3]
        assert result.steps["brier"].iloc[-1] == result.pooled["brier"]
    assert logistic.pooled["brier"] < persistence.pooled["brier"]  # regimes are eight steps long


def test_every_origin_of_the_test_span_is_asked(panel: Panel) -> None:
    windows = EventBacktest.of(panel).windows
    of_one = windows.origin[windows.series == 0]
    assert (np.diff(of_one) == 1).all()
    assert of_one[-1] == 160 - 3


def test_persistence_is_the_share_that_followed_by_hand(make_panel: Panels) -> None:
    panel = make_panel({"a": [0, 9, 9, 0, 0, 9, 0, 0] * 5}, horizon=1)
    windows = Windows(
        np.zeros(4, np.int64), np.array([1, 2, 3, 4])
    )  # newest: 0 9 9 0, next: 9 9 0 0
    net = Persistence(1, {"above": 5.0}).fit(panel, windows, targets(panel, windows))
    p = net.predict(panel, windows).probability[:, 0]
    np.testing.assert_allclose(p, (1 + 0.5) / 3)


def test_persistence_tells_newest_values_apart(make_panel: Panels) -> None:
    panel = make_panel({"a": [0, 3, 6, 9] * 10}, horizon=1)  # only a 6 is followed by a 9
    windows = Windows(np.zeros(36, np.int64), np.arange(1, 37))
    net = Persistence(1, {"above": 7.0}).fit(panel, windows, targets(panel, windows))
    p = net.predict(panel, windows[:4]).probability[:, 0]
    assert p.argmax() == 2
    assert p[2] > 0.9
    assert p[[0, 1, 3]].max() < 0.1


def test_a_baseline_sees_nothing_after_the_training_span_or_the_origin(
    panel: Panel, make_panel: Panels
) -> None:
    values = {n: panel.values[160 * i : 160 * i + 160, 0].copy() for i, n in enumerate("abc")}
    _, validation_end, _ = panel.split_points
    for y in values.values():
        y[validation_end[0] :] = 77.0
    other = make_panel(values)
    before = Windows(np.arange(3), np.full(3, int(validation_end[0])))
    pairs = zip(*(events.baselines(p, {"above": 5.0}) for p in (panel, other)), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(
            a.predict(panel, before).probability, b.predict(other, before).probability
        )


class Broken:
    """Answers NaN."""

    name, horizon = "broken", 3

    def predict(self, panel: Panel, windows: Windows) -> EventForecast:
        return EventForecast(np.full((len(windows), 3), np.nan, np.float32), windows)


def test_a_probability_that_is_no_number_names_the_series(panel: Panel) -> None:
    with pytest.raises(EvaluationError, match="broken forecasts no probability for series 'a'"):
        EventBacktest.of(panel).run(Broken(), {"above": 5.0})
