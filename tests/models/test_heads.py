"""Heads: levels in order, a sensible start, losses and quantiles as scipy and torch.distributions have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from utilsforecast.losses import quantile_loss

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.heads import HEADS, quantile
from gatecast.models.heads.base import Head
from gatecast.models.heads.negative_binomial import count_quantile
from gatecast.models.heads.quantile import initial_bias, monotone_quantiles, pinball
from gatecast.models.heads.student import student_quantile
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame

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
    assert torch.allclose(pinball(forecast, target, quantile_weight=0.0), error)


def test_a_forecast_before_a_training_does_not_stop_it() -> None:
    """Constants made in inference mode cannot take part in a backward pass."""
    quantile._steps.cache_clear()
    quantile._slopes.cache_clear()
    with torch.inference_mode():
        pinball(monotone_quantiles(torch.randn(2, Q)), torch.randn(2))
    raw = torch.randn(2, Q, requires_grad=True)
    pinball(monotone_quantiles(raw), torch.randn(2)).sum().backward()
    assert raw.grad is not None


# --- distributions ---------------------------------------------------------------------------------------

SPEC = InputSpec(5, 3, 6, 3, 4, 4)
DISTRIBUTIONS = ["normal", "student", "negative_binomial"]


def head(kind: str, **recipe: object) -> Head:
    settings = next(settings for settings in HEADS if settings().name == kind)
    return HEADS[settings](settings(**recipe), SPEC)


def some(kind: str, unit: float = 1.0) -> torch.Tensor:
    """(2, 3, 5, P') parameters of random raw numbers, in a frame of base 0."""
    torch.manual_seed(0)
    one = torch.ones(2, 3, 1)
    frame = Frame(one, one, 0 * one, unit * one, one)
    net = head(kind)
    return net(torch.randn(2, 3, 5, net.width), torch.randn(2, 3, 5), frame)


@pytest.mark.parametrize("kind", ["normal", "student"])
def test_the_loss_of_a_distribution_is_its_negative_log_likelihood(kind: str) -> None:
    parameters, y = some(kind), torch.randn(2, 3, 5) * 3
    location, scale, *rest = parameters.unbind(-1)
    if kind == "normal":
        expected = torch.distributions.Normal(location, scale).log_prob(y)
    else:
        expected = torch.distributions.StudentT(rest[0], location, scale).log_prob(y)
    assert torch.allclose(head(kind).loss(parameters, y), -expected, atol=1e-5)


@pytest.mark.parametrize("unit", [0.3, 1.0, 5e4])
def test_the_loss_of_counts_is_their_negative_log_likelihood(unit: float) -> None:
    parameters = some("negative_binomial", unit)
    mean, dispersion, _ = parameters.double().numpy().transpose(3, 0, 1, 2)
    size = 1 / dispersion
    y = np.random.default_rng(0).poisson(mean)
    expected = stats.nbinom.logpmf(y, size, size / (size + mean))
    got = head("negative_binomial").loss(parameters, torch.tensor(y, dtype=torch.float32))
    np.testing.assert_allclose(got, -expected, rtol=1e-4, atol=1e-4)


def test_counts_are_scored_in_units_of_the_target_and_unknown_ones_are_hidden() -> None:
    y, known = torch.tensor([[[7.0, -1e6, 3.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    frame = Frame(*(torch.ones(1, 1, 1) * v for v in (1, 1, 0, 4, 1)))
    target, scored = head("negative_binomial").target(y, known, frame)
    assert target.tolist() == [[[7.0, 0.0, 3.0]]]
    assert torch.equal(scored, known)


def test_quantiles_of_a_normal_head_are_those_of_the_distribution() -> None:
    parameters = some("normal")
    expected = stats.norm.ppf(QUANTILES, parameters[..., :1], parameters[..., 1:])
    np.testing.assert_allclose(head("normal").quantiles(parameters), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("freedom", [2.0, 2.2, 3.0, 5.0, 12.0, 80.0, 1e4])
def test_quantiles_of_students_t_agree_with_scipy(freedom: float) -> None:
    levels = torch.tensor([0.0005, *QUANTILES, 0.9995])
    got = student_quantile(levels, torch.tensor(freedom))
    np.testing.assert_allclose(got, stats.t.ppf(levels.numpy(), freedom), rtol=3e-3, atol=2e-3)


@pytest.mark.parametrize("mean", [0.01, 0.4, 3.0, 20.0])
@pytest.mark.parametrize("dispersion", [0.001, 0.2, 2.0])
def test_quantiles_of_small_counts_are_exact(mean: float, dispersion: float) -> None:
    size = 1 / dispersion
    if stats.nbinom.ppf(0.999999, size, size / (size + mean)) > 63:
        return
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    got = count_quantile(levels, torch.tensor(mean), torch.tensor(dispersion))
    p = 1 / (1 + torch.tensor(mean) * torch.tensor(dispersion)).double().item()
    assert got.tolist() == stats.nbinom.ppf(np.array(QUANTILES), size, p).tolist()


@pytest.mark.parametrize("mean", [20.0, 300.0, 5e4])
@pytest.mark.parametrize("dispersion", [0.01, 0.2, 2.0])
def test_quantiles_of_large_counts_are_right_to_a_hundredth(mean: float, dispersion: float) -> None:
    """The share of the distribution below each is the level."""
    size = 1 / dispersion
    got = count_quantile(torch.tensor(QUANTILES), torch.tensor(mean), torch.tensor(dispersion))
    below = stats.nbinom.cdf(got.numpy(), size, size / (size + mean))
    before = stats.nbinom.cdf(got.numpy() - 1, size, size / (size + mean))
    levels = np.array(QUANTILES)
    assert (before - 0.015 <= levels).all()
    assert (below + 0.015 >= levels).all()


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_quantiles_of_a_distribution_never_cross(kind: str) -> None:
    assert (head(kind).quantiles(some(kind, 3.0)).diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("loss", ["mae", "mse", "huber"])
def test_a_point_is_trained_by_its_own_loss_and_its_spread_does_not_move_it(loss: str) -> None:
    net = head("point", loss=loss)
    raw = torch.randn(2, 3, 5, 1, requires_grad=True)
    y, one = torch.randn(2, 3, 5) * 3, torch.ones(2, 3, 1)
    parameters = net(raw, torch.zeros(2, 3, 5), Frame(one, one, 0 * one, one, one))
    (got,) = torch.autograd.grad(net.loss(parameters, y).sum(), raw)
    losses = torch.nn.functional
    kinds = {"mae": losses.l1_loss, "mse": losses.mse_loss, "huber": losses.huber_loss}
    alone = kinds[loss](raw.squeeze(-1), y, reduction="sum")
    (expected,) = torch.autograd.grad(alone, raw)
    assert torch.allclose(got, expected, atol=1e-5)
    assert torch.equal(parameters[..., MEDIAN], raw.squeeze(-1))


def test_the_spread_of_a_point_learns_the_quantiles_of_its_errors() -> None:
    torch.manual_seed(0)
    net = head("point", loss="mse")
    one = torch.ones(4000, 1, 1)
    frame = Frame(one, one, 0 * one, one, one)
    y = torch.randn(4000, 1, 5) * torch.tensor([0.5, 1.0, 1.0, 1.0, 2.0])
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    for _ in range(300):
        parameters = net(torch.zeros(4000, 1, 5, 1), torch.zeros(4000, 1, 5), frame)
        optimizer.zero_grad()
        net.loss(parameters, y).mean().backward()
        optimizer.step()
    width = (parameters[0, 0, :, -1] - parameters[0, 0, :, 0]).detach()
    np.testing.assert_allclose(width, 2 * 1.96 * np.array([0.5, 1, 1, 1, 2]), rtol=0.1)
