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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, targets
from gatecast.evaluation.events import (
    Logistic,
    Persistence,
    auroc,
    brier,
    happened,
    logistic_weights,
    reliability,
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


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (3, 5), elements=st.sampled_from([0.0, 2.0, float("nan")])))
@pytest.mark.parametrize("above", [True, False])
def test_what_happened_is_what_training_was_told(above: bool, y: np.ndarray) -> None:
    known = ~np.isnan(y)
    label, sure = labels(torch.tensor(np.nan_to_num(y)), torch.tensor(known).float(), 1.0, above)
    expected = np.where(sure.numpy() > 0, label.numpy(), np.nan)
    np.testing.assert_array_equal(happened(y, 1.0, above), expected)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_weights_are_those_of_scikit_learns_logistic_regression(penalty: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = (rng.random(300) < 1 / (1 + np.exp(-2 * x[:, 0] + x[:, 1] + 1))).astype(float)
    reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=1000).fit(x, y)
    got = logistic_weights(np.concatenate([x, np.ones((300, 1))], 1), y, penalty)
    np.testing.assert_allclose(got[:-1], reference.coef_[0], atol=1e-4)
    assert got[-1] == pytest.approx(reference.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("y", [np.zeros(20), np.ones(20), np.full(20, np.nan)], ids=str)
def test_one_class_alone_gives_finite_weights(y: np.ndarray) -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), np.ones((20, 1))], 1)
    assert np.isfinite(logistic_weights(x, y, 1.0)).all()


def some_windows(panel: Panel) -> Windows:
    origins = np.arange(8, 36)
    return Windows(
        np.repeat(np.arange(panel.n_series), len(origins)), np.tile(origins, panel.n_series)
    )


@pytest.fixture
def panel(make_panel: Panels) -> Panel:
    """Regimes of eight steps above and below, and gaps."""
    rng = np.random.default_rng(0)
    regime = np.repeat([0.0, 10.0, 0.0, 10.0, 0.0], 8)
    series = {name: regime + rng.normal(size=40) for name in "abc"}
    series["b"][[9, 10, 21]] = np.nan
    return make_panel(series)


@pytest.mark.parametrize("kind", [Persistence, Logistic])
@pytest.mark.parametrize("above", [True, False])
def test_a_baseline_answers_probabilities_that_do_not_fall_and_beats_a_coin(
    kind: type[Persistence | Logistic], above: bool, panel: Panel
) -> None:
    windows = some_windows(panel)
    y = targets(panel, windows)
    forecast = kind(3, 5.0, above).fit(panel, windows, y).predict(panel, windows)
    p, label = forecast.values[..., 0], happened(y, 5.0, above)
    assert forecast.kind == "event"
    assert forecast.values.shape == (len(windows), 3, 1)
    assert ((p > 0) & (p < 1)).all()
    assert (np.diff(p, axis=1) >= 0).all()
    assert auroc(p[:, 0], label[:, 0]) > 0.8
    assert brier(p, label) < 0.2


def test_persistence_is_the_share_that_followed_by_hand(make_panel: Panels) -> None:
    panel = make_panel({"a": [0, 9, 9, 0, 0, 9, 0, 0] * 5}, horizon=1)
    windows = Windows(
        np.zeros(4, np.int64), np.array([1, 2, 3, 4])
    )  # newest: 0 9 9 0, next: 9 9 0 0
    net = Persistence(1, 5.0).fit(panel, windows, targets(panel, windows))
    assert net.share[0, 0] == pytest.approx((1 + 0.5) / 3)
    assert net.share[1, 0] == pytest.approx((1 + 0.5) / 3)


def test_a_baseline_sees_nothing_after_the_origin(panel: Panel, make_panel: Panels) -> None:
    values = {
        str(name): panel.values[40 * i : 40 * i + 40, 0].copy() for i, name in enumerate("abc")
    }
    for y in values.values():
        y[20:] = 77.0
    other = make_panel(values)
    training = some_windows(panel)[:10]
    before = Windows(np.arange(3), np.full(3, 20))
    for kind in (Persistence, Logistic):
        net = kind(3, 5.0).fit(panel, training, targets(panel, training))
        a, b = net.predict(panel, before), net.predict(other, before)
        np.testing.assert_array_equal(a.values, b.values)
