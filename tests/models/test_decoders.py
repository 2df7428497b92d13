"""The direct decoder and the seasonal forecast it starts from."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.config import MEDIAN, QUANTILES
from gatecast.models.decoders import DirectDecoder, seasonal_mean


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


def decoder(dropout: float = 0.0) -> DirectDecoder:
    torch.manual_seed(0)
    return DirectDecoder(
        units=8, n_step=3, window=6, horizon=5, season_length=3, dropout=dropout
    ).eval()


def test_quantiles_of_every_step_are_in_order() -> None:
    out = decoder()(torch.randn(2, 4, 8), torch.randn(2, 4, 5, 3), torch.randn(2, 4, 6))
    assert out.shape == (2, 4, 5, len(QUANTILES))
    assert (out.diff(dim=-1) >= 0).all()


def test_an_untrained_decoder_starts_near_the_seasonal_forecast() -> None:
    net, x = decoder(), torch.randn(50, 1, 6)
    out = net(torch.zeros(50, 1, 8), torch.zeros(50, 1, 5, 3), x)[..., MEDIAN]
    seasonal = x @ seasonal_mean(6, 5, 3).T
    assert (out - seasonal).abs().max() < 0.6 * seasonal.std()


def test_inputs_of_a_step_change_that_step_only() -> None:
    net, state, x = decoder(), torch.randn(1, 1, 8), torch.randn(1, 1, 6)
    step = torch.randn(1, 1, 5, 3)
    changed = step.clone()
    changed[0, 0, 2] += 1
    moved = (net(state, step, x) - net(state, changed, x)).abs().amax(-1)[0, 0]
    assert (moved > 1e-6).tolist() == [False, False, True, False, False]


def test_an_origin_is_decoded_from_its_own_state_alone() -> None:
    net, state, x = decoder(), torch.randn(1, 3, 8), torch.randn(1, 3, 6)
    step = torch.randn(1, 3, 5, 3)
    changed = state.clone()
    changed[0, 1] += 1
    moved = (net(state, step, x) - net(changed, step, x)).abs().amax((-1, -2))[0]
    assert (moved > 1e-6).tolist() == [False, True, False]


def test_dropout_is_the_same_for_all_steps_of_an_origin() -> None:
    net = decoder(dropout=0.5).train()
    with torch.no_grad():
        net.embedding.zero_()
        net.skip.zero_()
    out = net(torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))
    assert torch.equal(out[:, :, :1].expand_as(out), out)
    torch.manual_seed(1)
    draws = [
        net(torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))[0] for _ in range(8)
    ]
    assert any(not torch.equal(one[0], one[1]) for one in draws)
