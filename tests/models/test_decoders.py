"""The direct decoder and the seasonal forecast it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.config import MEDIAN, QUANTILES, Model
from gatecast.models.decoders import DirectDecoder, ExpertsDecoder, seasonal_mean
from gatecast.models.inputs import InputSpec

KINDS = ["direct", "experts"]


def test_the_skip_starts_as_half_last_season_half_mean_of_all_by_hand() -> None:
    weights = seasonal_mean(window=6, horizon=3, season_length=2)
    expected = [
        [1 / 6, 0, 1 / 6, 0, 1 / 6 + 1 / 2, 0],
        [0, 1 / 6, 0, 1 / 6, 0, 1 / 6 + 1 / 2],
        [1 / 6, 0, 1 / 6, 0, 1 / 6 + 1 / 2, 0],
    ]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_every_step_looks_at_its_own_phase_only(
    horizon: int, season: int, seasons: int, more: int
) -> None:
    window = seasons * season + more
    weights = seasonal_mean(window, horizon, season).numpy()
    for k in range(horizon):
        rows = np.flatnonzero(weights[k])
        assert len(rows)
        assert all((window + k - row) % season == 0 for row in rows)
        assert window - rows.max() <= season
        np.testing.assert_allclose(weights[k].sum(), 1, rtol=1e-5)


def test_without_a_season_the_skip_is_half_last_value_half_mean() -> None:
    weights = seasonal_mean(4, 2, 1)
    np.testing.assert_allclose(weights, [[0.125, 0.125, 0.125, 0.625]] * 2)


SPEC = InputSpec(5, 3, 6, 3, 4, 4, n_known=3)


def decoder(
    dropout: float = 0.0, kind: str = "direct", spec: InputSpec = SPEC
) -> DirectDecoder | ExpertsDecoder:
    torch.manual_seed(0)
    model = Model(units=8, dropout=dropout, experts=3)
    return {"direct": DirectDecoder, "experts": ExpertsDecoder}[kind](model, spec, 3).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_of_every_step_are_in_order(kind: str) -> None:
    out = decoder(kind=kind)(torch.randn(2, 4, 8), torch.randn(2, 4, 5, 3), torch.randn(2, 4, 6))
    assert out.shape == (2, 4, 5, len(QUANTILES))
    assert (out.diff(dim=-1) >= 0).all()


def test_an_untrained_decoder_starts_near_the_seasonal_forecast() -> None:
    net, x = decoder(), torch.randn(50, 1, 6)
    out = net(torch.zeros(50, 1, 8), torch.zeros(50, 1, 5, 3), x)[..., MEDIAN]
    seasonal = x @ seasonal_mean(6, 5, 3).T
    assert (out - seasonal).abs().max() < 0.6 * seasonal.std()


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_a_step_change_that_step_only(kind: str) -> None:
    net, state, x = decoder(kind=kind), torch.randn(1, 1, 8), torch.randn(1, 1, 6)
    step = torch.randn(1, 1, 5, 3)
    changed = step.clone()
    changed[0, 0, 2] += 1
    moved = (net(state, step, x) - net(state, changed, x)).abs().amax(-1)[0, 0]
    assert (moved > 1e-6).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_an_origin_is_decoded_from_its_own_state_alone(kind: str) -> None:
    net, state, x = decoder(kind=kind), torch.randn(1, 3, 8), torch.randn(1, 3, 6)
    step = torch.randn(1, 3, 5, 3)
    changed = state.clone()
    changed[0, 1] += 1
    moved = (net(state, step, x) - net(changed, step, x)).abs().amax((-1, -2))[0]
    assert (moved > 1e-6).tolist() == [False, True, False]


def test_dropout_is_the_same_for_all_steps_of_an_origin() -> None:
    net = decoder(dropout=0.5).train()
    assert isinstance(net, DirectDecoder)
    with torch.no_grad():
        net.steps.embedding.zero_()
        net.skip.zero_()
    out = net(torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))
    assert torch.equal(out[:, :, :1].expand_as(out), out)
    torch.manual_seed(1)
    draws = [
        net(torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))[0] for _ in range(8)
    ]
    assert any(not torch.equal(one[0], one[1]) for one in draws)


@pytest.mark.parametrize("normalisation", ["level", "seasonal"])
def test_experts_start_between_seasonal_naive_and_the_mean_of_all_seasons(
    normalisation: str,
) -> None:
    """By hand: the last season, half way, and the mean of four seasons, as changes or as values."""
    m, seasons = 3, 4
    spec = InputSpec(5, m, m * seasons, m, 4, 4, normalisation=normalisation)
    net = decoder(kind="experts", spec=spec)
    assert isinstance(net, ExpertsDecoder)
    y = torch.arange(1.0, m * seasons + 1) ** 1.5
    x = y[m:] - y[:-m] if normalisation == "seasonal" else y
    base = y[-m:].repeat(2)[:5]
    mean = y.view(seasons, m).mean(0).repeat(2)[:5]
    out = (net.experts @ x).view(3, 5)
    out = out + base if normalisation == "seasonal" else out
    for got, expected in zip(out, (base, (base + mean) / 2, mean), strict=True):
        assert torch.allclose(got, expected, atol=1e-4)


def test_the_gate_of_a_step_is_a_mixture() -> None:
    """Experts that all say the same are mixed to just that, whatever the state."""
    net = decoder(kind="experts")
    assert isinstance(net, ExpertsDecoder)
    with torch.no_grad():
        net.experts.copy_(torch.ones_like(net.experts))
        net.out.weight.zero_()
        net.steps.out.weight.zero_()  # type: ignore[union-attr]
        net.steps.out.bias.zero_()  # type: ignore[union-attr]
    x = torch.randn(2, 4, 6)
    out = net(10 * torch.randn(2, 4, 8), torch.randn(2, 4, 5, 3), x)[..., MEDIAN]
    assert torch.allclose(out, x.sum(-1, keepdim=True).expand_as(out), atol=1e-4)


def test_without_anything_known_ahead_experts_have_no_layer_per_step() -> None:
    net = decoder(kind="experts", spec=InputSpec(5, 3, 6, 3, 4, 4))
    assert isinstance(net, ExpertsDecoder)
    assert net.steps is None
