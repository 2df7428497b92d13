"""Decoders on their own: what a step reads, and the seasonal forecast they start from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.cells import CELLS
from gatecast.models.config import Recurrent
from gatecast.models.decoders import build_decoder
from gatecast.models.decoders.autoregressive import AutoregressiveDecoder
from gatecast.models.decoders.base import Decoder, Origins, seasonal_mean
from gatecast.models.decoders.direct import DirectDecoder
from gatecast.models.decoders.experts import ExpertsDecoder
from gatecast.models.decoders.segment import SegmentDecoder
from gatecast.models.decoders.seq2seq import Seq2SeqDecoder
from gatecast.models.decoders.sequential import Attention, StepCell
from gatecast.models.heads import HEADS
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame
from tests.recipes import model_of

KINDS = ["direct", "experts"]


def test_the_skip_starts_as_half_last_season_half_mean_of_all_by_hand() -> None:
    weights = seasonal_mean(context_length=6, horizon=3, season_length=2)
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
    dropout: float = 0.0, kind: str = "direct", spec: InputSpec = SPEC, **recipe: Any
) -> Decoder:
    torch.manual_seed(0)
    if kind == "experts":
        recipe["n_experts"] = 3
    model = model_of(hidden_size=8, decoder=kind, **recipe)
    assert isinstance(model, Recurrent)
    head = HEADS[type(model.head)](model.head, spec)
    return build_decoder(model.decoder, head, spec, 8, 3, dropout).eval()


def origins(state: Tensor, step: Tensor, x: Tensor) -> Origins:
    """Origins that are all the encoder's states, in a frame of base 0 and unit 1."""
    one = torch.ones(*state.shape[:2], 1)
    return Origins(state, step, Frame(x, x, 0 * one, one, one))


def decode(net: Decoder, state: Tensor, step: Tensor, x: Tensor) -> Tensor:
    return net(origins(state, step, x))


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_of_every_step_are_in_order(kind: str) -> None:
    out = decode(
        decoder(kind=kind), torch.randn(2, 4, 8), torch.randn(2, 4, 5, 3), torch.randn(2, 4, 6)
    )
    assert out.shape == (2, 4, 5, len(QUANTILES))
    assert (out.diff(dim=-1) >= 0).all()


def test_an_untrained_decoder_starts_near_the_seasonal_forecast() -> None:
    net, x = decoder(), torch.randn(50, 1, 6)
    out = decode(net, torch.zeros(50, 1, 8), torch.zeros(50, 1, 5, 3), x)[..., MEDIAN]
    seasonal = x @ seasonal_mean(6, 5, 3).T
    assert (out - seasonal).abs().max() < 0.6 * seasonal.std()


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_a_step_change_that_step_only(kind: str) -> None:
    net, state, x = decoder(kind=kind), torch.randn(1, 1, 8), torch.randn(1, 1, 6)
    step = torch.randn(1, 1, 5, 3)
    changed = step.clone()
    changed[0, 0, 2] += 1
    moved = (decode(net, state, step, x) - decode(net, state, changed, x)).abs().amax(-1)[0, 0]
    assert (moved > 1e-6).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_an_origin_is_decoded_from_its_own_state_alone(kind: str) -> None:
    net, state, x = decoder(kind=kind), torch.randn(1, 3, 8), torch.randn(1, 3, 6)
    step = torch.randn(1, 3, 5, 3)
    changed = state.clone()
    changed[0, 1] += 1
    moved = (decode(net, state, step, x) - decode(net, changed, step, x)).abs().amax((-1, -2))[0]
    assert (moved > 1e-6).tolist() == [False, True, False]


def test_dropout_is_the_same_for_all_steps_of_an_origin() -> None:
    net = decoder(dropout=0.5).train()
    assert isinstance(net, DirectDecoder)
    with torch.no_grad():
        net.steps.embedding.zero_()
        net.skip.zero_()
    out = decode(net, torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))
    assert torch.equal(out[:, :, :1].expand_as(out), out)
    torch.manual_seed(1)
    draws = [
        decode(net, torch.ones(1, 2, 8), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 6))[0]
        for _ in range(8)
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
    out = decode(net, 10 * torch.randn(2, 4, 8), torch.randn(2, 4, 5, 3), x)[..., MEDIAN]
    assert torch.allclose(out, x.sum(-1, keepdim=True).expand_as(out), atol=1e-4)


def test_without_anything_known_ahead_experts_have_no_layer_per_step() -> None:
    net = decoder(kind="experts", spec=InputSpec(5, 3, 6, 3, 4, 4))
    assert isinstance(net, ExpertsDecoder)
    assert net.steps is None


FORCED: dict[str, dict[str, Any]] = {
    "seq2seq": {"teacher_forcing": 1.0},
    "autoregressive": {"head": "normal"},
}
SEQUENTIAL: dict[str, dict[str, Any]] = {
    "seq2seq": {},
    "autoregressive": {"head": "normal", "n_paths": 50},
}


@pytest.mark.parametrize("kind", SEQUENTIAL)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_step_that_is_shown_the_truth_sees_the_steps_before_it_only(kind: str, cell: str) -> None:
    net = decoder(kind=kind, decoder_cell=cell, **FORCED[kind]).train()
    known = origins(torch.randn(2, 3, 8), torch.randn(2, 3, 5, 3), torch.randn(2, 3, 6))
    truth = torch.randn(2, 3, 5)
    other = truth.clone()
    other[..., 2] += 1
    moved = (net(known, truth) - net(known, other)).abs().amax((0, 1, 3))
    assert (moved > 1e-6).tolist() == [False, False, False, True, True]


def test_an_unknown_truth_is_shown_as_what_was_to_be_expected() -> None:
    net = decoder(kind="seq2seq", teacher_forcing=1.0).train()
    assert isinstance(net, Seq2SeqDecoder)
    known = origins(torch.randn(2, 3, 8), torch.randn(2, 3, 5, 3), torch.randn(2, 3, 6))
    expected = known.frame.x @ net.skip.T
    unknown = torch.full_like(expected, torch.nan)
    assert torch.allclose(net(known, unknown), net(known, expected), atol=1e-6)
    net(known, unknown).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_forecasting_feeds_back_what_training_would_have_been_shown() -> None:
    """Shown its own medians, a decoder gives the forecast that it gives by itself."""
    net = decoder(kind="seq2seq", attention="dot", teacher_forcing=1.0)
    known = origins(torch.randn(2, 3, 8), torch.randn(2, 3, 5, 3), torch.randn(2, 3, 6))
    alone = net(known)
    assert torch.allclose(net.train()(known, alone[..., MEDIAN]), alone, atol=1e-5)


def test_attention_is_a_mean_of_the_states_up_to_each_origin() -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 5, 8)
    for kind in ("dot", "additive"):
        attention = Attention(kind, 8)
        asked = torch.randn(2, 3, 4, 8)
        same = attention(asked, torch.ones(2, 5, 8))
        assert torch.allclose(same, torch.ones_like(same), atol=1e-5)
        changed = states.clone()
        changed[:, 3] += 1  # the state of the second of three origins
        moved = (attention(asked, states) - attention(asked, changed)).abs().amax((0, 2, 3))
        assert (moved > 1e-6).tolist() == [False, True, True]


def test_trajectories_are_draws_from_the_distribution_of_the_first_step() -> None:
    """Equal shares: the quantiles of the first step are those of its normal distribution."""
    net = decoder(kind="autoregressive", head="normal", n_paths=400)
    known = origins(torch.randn(2, 3, 8), torch.randn(2, 3, 5, 3), torch.randn(2, 3, 6))
    shown = net(known, torch.zeros(2, 3, 5))
    expected = net.head.quantiles(shown)[:, :, 0]
    assert torch.allclose(net.quantiles(known)[:, :, 0], expected, atol=0.01)


def test_each_trajectory_goes_on_from_its_own_draw() -> None:
    net = decoder(kind="autoregressive", head="normal", n_paths=200)
    assert isinstance(net, AutoregressiveDecoder)
    with torch.no_grad():  # the cell hands on the value alone: x_k = x_(k - 1) + noise
        net.skip.zero_()
        net.out.weight.zero_()
        net.out.bias.copy_(torch.tensor([0.0, -20.0]))
        net.levels[0] = torch.linspace(0.0025, 0.9975, 200)
    net.cell = Echo()  # type: ignore[assignment]
    with torch.no_grad():
        net.out.weight[0, 0] = 1.0
    known = origins(torch.zeros(1, 1, 8), torch.zeros(1, 1, 5, 3), torch.ones(1, 1, 6))
    paths = net.paths(known)[0, 0].detach()  # (H, S)
    assert (paths.std(-1).diff() > 0).all()  # a random walk spreads
    assert torch.corrcoef(paths[:2])[0, 1] > 0.5


class Echo(torch.nn.Module):
    """A cell without memory, whose output is the value it is fed."""

    def start(self, state: Tensor) -> Tensor:
        return state

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., :1].expand(*x.shape[:2], 8) * torch.eye(8)[0], hidden


@pytest.mark.parametrize("horizon", [1, 5, 7])
@pytest.mark.parametrize("pieces", [1, 2, 3, 9])
def test_a_part_of_the_horizon_reads_its_own_steps_only(horizon: int, pieces: int) -> None:
    spec = InputSpec(horizon, 3, 6, 3, 4, 4, n_known=3)
    net = decoder(kind="segment", spec=spec, decoder_patches=pieces)
    assert isinstance(net, SegmentDecoder)
    state, x = torch.randn(1, 2, 8), torch.randn(1, 2, 6)
    step = torch.randn(1, 2, horizon, 3)
    changed = step.clone()
    changed[:, :, -1] += 1
    out = decode(net, state, step, x)
    assert out.shape == (1, 2, horizon, len(QUANTILES))
    moved = (out - decode(net, state, changed, x)).abs().amax((0, 1, 3)) > 1e-6
    last = (horizon - 1) // net.length * net.length  # where the last part begins
    assert moved.tolist() == [k >= last for k in range(horizon)]


@pytest.mark.parametrize("cell", CELLS)
def test_a_decoders_cell_starts_within_what_a_cell_can_be(cell: str) -> None:
    """However large the encoder's state: a cell whose steps are bounded must not start beyond them."""
    torch.manual_seed(0)
    net = StepCell(cell, 3, 8)
    state = 100 * torch.randn(4, 8)
    first = torch.cat(net.start(state)[: net.n_started], -1)
    assert torch.allclose(first, net.from_state(state).tanh())
    assert first.abs().max() <= 1
