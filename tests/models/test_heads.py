"""The quantile head: levels in order, a sensible start, and the loss of Koenker & Bassett."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from utilsforecast.losses import quantile_loss

from gatecast.config import MEDIAN, QUANTILES
from gatecast.models import heads
from gatecast.models.heads import initial_bias, monotone_quantiles, pinball

Q = len(QUANTILES)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.just(Q)),
        elements=st.floats(-(2.0**20), 2.0**20, width=32),
    )
)
def test_quantiles_never_cross(raw: np.ndarray) -> None:
    out = monotone_quantiles(torch.from_numpy(raw))
    assert (out.diff(dim=-1) >= 0).all()


def test_the_middle_raw_value_is_the_median() -> None:
    raw = torch.randn(5, Q)
    assert torch.equal(monotone_quantiles(raw)[:, MEDIAN], raw[:, MEDIAN])


def test_leading_axes_are_kept() -> None:
    assert monotone_quantiles(torch.zeros(2, 3, 4, Q)).shape == (2, 3, 4, Q)


@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
def test_the_head_starts_as_a_normal_distribution_of_the_given_spread(spread: float) -> None:
    from statistics import NormalDist

    expected = [NormalDist(0, spread).inv_cdf(q) for q in QUANTILES]
    out = monotone_quantiles(initial_bias(spread))
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_pinball_by_hand() -> None:
    forecast = torch.zeros(1, Q)
    above, below = pinball(forecast, torch.tensor([3.0])), pinball(forecast, torch.tensor([-3.0]))
    np.testing.assert_allclose(above, [2 * 3 * np.mean(QUANTILES)], rtol=1e-6)
    np.testing.assert_allclose(below, [2 * 3 * np.mean(1 - np.array(QUANTILES))], rtol=1e-6)


def test_pinball_of_equal_quantiles_is_the_absolute_error_on_the_symmetric_grid() -> None:
    target = torch.tensor([2.0, -4.0, 0.0])
    assert torch.allclose(pinball(torch.zeros(3, Q), target), target.abs())


def test_pinball_is_twice_the_mean_of_utilsforecasts_quantile_losses() -> None:
    rng = np.random.default_rng(0)
    n = 40
    forecast = np.sort(rng.normal(size=(n, Q)), 1).astype(np.float32)
    y = rng.normal(size=n).astype(np.float32)
    table = pd.DataFrame({"unique_id": np.arange(n), "ds": 0, "y": y})
    levels = []
    for i, q in enumerate(QUANTILES):
        table["model"] = forecast[:, i]
        levels.append(quantile_loss(table, {"model": "model"}, q)["model"].to_numpy())
    ours = pinball(torch.from_numpy(forecast), torch.from_numpy(y))
    np.testing.assert_allclose(ours, 2 * np.mean(levels, 0), rtol=1e-5)


def test_pinball_is_least_at_the_true_quantiles() -> None:
    rng = np.random.default_rng(1)
    sample = torch.from_numpy(rng.normal(size=20_000).astype(np.float32))
    truth = torch.quantile(sample, torch.tensor(QUANTILES))
    best = pinball(truth.expand(len(sample), Q), sample).mean()
    for shift in (-0.3, 0.3):
        assert pinball((truth + shift).expand(len(sample), Q), sample).mean() > best


def test_a_small_spread_weight_leaves_the_absolute_error_of_the_median() -> None:
    forecast, target = torch.randn(5, Q).sort(-1).values, torch.randn(5)
    error = (target - forecast[:, MEDIAN]).abs()
    assert torch.allclose(pinball(forecast, target, spread_weight=0.0), error)


def test_a_forecast_before_a_training_does_not_stop_it() -> None:
    """Constants made in inference mode cannot take part in a backward pass."""
    heads._steps.cache_clear()
    heads._slopes.cache_clear()
    with torch.inference_mode():
        pinball(monotone_quantiles(torch.randn(2, Q)), torch.randn(2))
    raw = torch.randn(2, Q, requires_grad=True)
    pinball(monotone_quantiles(raw), torch.randn(2)).sum().backward()
    assert raw.grad is not None
