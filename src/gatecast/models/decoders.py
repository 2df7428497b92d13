"""Decoders: from the states of the encoder at an origin to the parameters of a head, for every step of the horizon.

    direct          a layer per step over the state, the step's own inputs and a step embedding; one linear skip
    experts         a linear map of the state; linear maps of the look-back, mixed per step by a gate from the state
    segment         one recurrent step per part of the horizon, all from the same state (models/sequential.py)
    seq2seq         a recurrent step per step of the horizon, fed its own median (models/sequential.py)
    autoregressive  the same, fed what it samples: trajectories (models/sequential.py)

All decode every origin of every sequence as one batch, and answer (B, K, H, P') parameters of their head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import relu

from gatecast.models.config import Model
from gatecast.models.heads import Head
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame, widths


class Origins(NamedTuple):
    """What is known at K origins of each sequence.

    Attributes:
        states: (B, T, units) of the encoder, or (B, K, units) where nothing attends to earlier ones; the last K are
            those of the origins.
        step: (B, K, H, n_step) what is known ahead of each step of the horizon, and lags.
        frame: normalisation of the K origins.
    """

    states: Tensor
    step: Tensor
    frame: Frame

    @property
    def state(self) -> Tensor:
        """(B, K, units), the newest state at each origin."""
        return self.states[:, -self.step.shape[1] :]


class Decoder(nn.Module):
    """What every decoder can do.

    Args:
        head: makes parameters of what is decoded.

    Attributes:
        fed: whether a step reads the value before it, so that training shows it the truth.
    """

    fed = False

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            origins: what is known.
            truth: (B, K, H) targets in normalised units, NaN where unknown, which training may show to later steps.

        Returns:
            (B, K, H, P') parameters of the head.
        """
        raise NotImplementedError

    def quantiles(self, origins: Origins) -> Tensor:
        """(B, K, H, Q) in normalised units."""
        return self.head.quantiles(self(origins))


class StepLayer(nn.Module):
    """A hidden layer per step of the horizon, from the state, the step's inputs and an embedding of the step.

    Args:
        units: width of the encoder state.
        n_step: features of a horizon step (known covariates, calendar, lags).
        horizon: H.
        n_out: outputs of a step.
        dropout: on the hidden layer.
    """

    def __init__(self, units: int, n_step: int, horizon: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.3 * torch.randn(horizon, 8))
        self.from_state = nn.Linear(units, units)
        self.from_embedding = nn.Linear(8, units, bias=False)
        self.from_step = nn.Linear(n_step, units)
        self.dropout = dropout
        self.out = nn.Linear(units, n_out)
        with torch.no_grad():
            self.out.weight.mul_(0.3)

    def forward(self, state: Tensor, step: Tensor) -> Tensor:
        """(B, K, units), (B, K, H, n_step) -> (B, K, H, n_out)."""
        of_origin = self.from_state(state).unsqueeze(-2)  # (B, K, 1, units)
        hidden = relu(of_origin + self.from_embedding(self.embedding) + self.from_step(step))
        if self.training:  # one mask an origin: drawing one a step costs a third of the time
            hidden = hidden * drop(
                hidden.new_ones(*state.shape[:2], 1, hidden.shape[-1]), self.dropout
            )
        out: Tensor = self.out(hidden)
        return out


class DirectDecoder(Decoder):
    """A hidden layer per step, and a linear skip of the look-back that starts out as a seasonal mean."""

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(head)
        self.steps = StepLayer(n_state, n_step, spec.horizon, head.width, model.dropout)
        self.skip = linear_skip(model, spec)
        with torch.no_grad():
            self.steps.out.bias.copy_(head.bias(0.5))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        raw = self.steps(origins.state, origins.step)  # (B, K, H, P)
        return self.head(raw, origins.frame.x @ self.skip.T, origins.frame)


class ExpertsDecoder(Decoder):
    """Gated linear experts: E linear maps of the look-back, one softmax gate per step from the recurrent state.

    The maps start between seasonal naive and a seasonal mean. A linear map of the state adds location and spread;
    where covariates are known ahead, a :class:`StepLayer` moves each step by what is known of it.
    """

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(head)
        n_experts, horizon = model.experts, spec.horizon
        self.dropout = nn.Dropout(model.dropout)
        self.out = nn.Linear(n_state, horizon * head.width)
        self.gate = nn.Linear(n_state, horizon * n_experts)
        starts = [
            _expert(spec, share / max(1, n_experts - 1)) for share in range(n_experts)
        ]  # (H, D) each
        self.experts = nn.Parameter(torch.cat(starts))  # (E H, D)
        known = spec.n_known + spec.n_calendar + len(spec.known_cards)
        self.steps = StepLayer(n_state, n_step, horizon, 1, model.dropout) if known else None
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.copy_(head.bias(1.0).repeat(horizon))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        _, step, frame = origins
        state = self.dropout(origins.state)
        horizon = step.shape[2]
        gate = self.gate(state).unflatten(-1, (-1, horizon)).softmax(-2)  # (B, K, E, H)
        mixed = ((frame.x @ self.experts.T).unflatten(-1, (-1, horizon)) * gate).sum(
            -2
        )  # (B, K, H)
        if self.steps is not None:
            mixed = mixed + self.steps(state, step).squeeze(-1)
        raw = self.out(state).unflatten(-1, (horizon, -1))  # (B, K, H, P)
        return self.head(raw, mixed, frame)


def _expert(spec: InputSpec, share: float) -> Tensor:
    """(H, D) weights of a forecast between the base (share 0) and the mean of all seasons (share 1)."""
    m = spec.season_length
    if spec.normalisation != "seasonal":
        naive = seasonal_mean(spec.window, spec.horizon, m, 1.0)
        return naive + share * (seasonal_mean(spec.window, spec.horizon, m, 0.0) - naive)
    width = widths(spec)[0]
    weights = torch.zeros(spec.horizon, width)
    n = width // m  # changes of the same phase: their weighted sum is the mean season less the last
    for k in range(spec.horizon):
        for j in range(n):
            weights[k, width - (j + 1) * m + k % m] = -share * (n - j) / (n + 1)
    return weights


def linear_skip(model: Model, spec: InputSpec) -> nn.Parameter:
    """(H, D) weights of a linear skip of the look-back: at first, or for good, between last season and mean."""
    if spec.normalisation == "seasonal":  # the base is the last season already
        weights = torch.zeros(spec.horizon, widths(spec)[0])
    else:
        weights = seasonal_mean(spec.window, spec.horizon, spec.season_length)
    return nn.Parameter(weights, requires_grad=model.skip == "trained")


def seasonal_mean(window: int, horizon: int, season_length: int, newest: float = 0.5) -> Tensor:
    """(H, W) weights of the forecast "``newest`` the last season, the rest the mean of all" (same phase)."""
    weights = torch.zeros(horizon, window)
    for k in range(horizon):
        same_phase = torch.arange(window - season_length + k % season_length, -1, -season_length)
        if len(same_phase):
            weights[k, same_phase] = (1 - newest) / len(same_phase)
            weights[k, same_phase[0]] += newest
    return weights
