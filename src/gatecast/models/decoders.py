"""Decoders: all steps of the horizon at once, from the last state of the encoder.

    direct    a layer per step over the state, the step's own inputs and a step embedding; one linear skip
    experts   a linear map of the state; linear maps of the look-back, mixed per step by a gate from the state

Both answer (B, K, H, Q) quantiles in normalised units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import relu

from gatecast.config import QUANTILES, Model
from gatecast.models.heads import initial_bias, monotone_quantiles
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import widths


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
        keep = drop(
            hidden.new_ones(*hidden.shape[:2], 1, hidden.shape[-1]), self.dropout, self.training
        )  # one mask an origin: drawing one a step costs a third of the time
        out: Tensor = self.out(hidden * keep)
        return out


class DirectDecoder(nn.Module):
    """A hidden layer per step, and a linear skip of the look-back that starts out as a seasonal mean."""

    def __init__(self, model: Model, spec: InputSpec, n_step: int) -> None:
        super().__init__()
        self.steps = StepLayer(
            model.state_units, n_step, spec.horizon, len(QUANTILES), model.dropout
        )
        seasonal = spec.normalisation == "seasonal"
        start = torch.zeros(spec.horizon, widths(spec)[0])
        self.skip = nn.Parameter(
            start if seasonal else seasonal_mean(spec.window, spec.horizon, spec.season_length)
        )
        with torch.no_grad():
            self.steps.out.bias.copy_(initial_bias(0.5))

    def forward(self, state: Tensor, step: Tensor, x: Tensor) -> Tensor:
        """(B, K, units), (B, K, H, n_step), (B, K, D) -> (B, K, H, Q) in normalised units."""
        return monotone_quantiles(self.steps(state, step)) + (x @ self.skip.T).unsqueeze(-1)


class ExpertsDecoder(nn.Module):
    """Gated linear experts: E linear maps of the look-back, one softmax gate per step from the recurrent state.

    The maps start between seasonal naive and a seasonal mean. A linear map of the state adds location and spread;
    where covariates are known ahead, a :class:`StepLayer` moves each step by what is known of it.
    """

    def __init__(self, model: Model, spec: InputSpec, n_step: int) -> None:
        super().__init__()
        n_experts, horizon = model.experts, spec.horizon
        self.dropout = nn.Dropout(model.dropout)
        self.out = nn.Linear(model.state_units, horizon * len(QUANTILES))
        self.gate = nn.Linear(model.state_units, horizon * n_experts)
        starts = [
            _expert(spec, share / max(1, n_experts - 1)) for share in range(n_experts)
        ]  # (H, D) each
        self.experts = nn.Parameter(torch.cat(starts))  # (E H, D)
        known = spec.n_known + spec.n_calendar + len(spec.known_cards)
        self.steps = (
            StepLayer(model.state_units, n_step, horizon, 1, model.dropout) if known else None
        )
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.copy_(initial_bias(1.0).repeat(horizon))

    def forward(self, state: Tensor, step: Tensor, x: Tensor) -> Tensor:
        """(B, K, units), (B, K, H, n_step), (B, K, D) -> (B, K, H, Q) in normalised units."""
        state = self.dropout(state)
        horizon = step.shape[2]
        gate = self.gate(state).unflatten(-1, (-1, horizon)).softmax(-2)  # (B, K, E, H)
        mixed = ((x @ self.experts.T).unflatten(-1, (-1, horizon)) * gate).sum(-2)  # (B, K, H)
        if self.steps is not None:
            mixed = mixed + self.steps(state, step).squeeze(-1)
        raw = self.out(state).unflatten(-1, (horizon, -1))  # (B, K, H, Q)
        return monotone_quantiles(raw) + mixed.unsqueeze(-1)


def _expert(spec: InputSpec, share: float) -> Tensor:
    """(H, D) weights of a forecast between the base (share 0) and the mean of all seasons (share 1)."""
    m = spec.season_length
    if spec.normalisation == "level":
        naive = seasonal_mean(spec.window, spec.horizon, m, 1.0)
        return naive + share * (seasonal_mean(spec.window, spec.horizon, m, 0.0) - naive)
    width = widths(spec)[0]
    weights = torch.zeros(spec.horizon, width)
    n = width // m  # changes of the same phase: their weighted sum is the mean season less the last
    for k in range(spec.horizon):
        for j in range(n):
            weights[k, width - (j + 1) * m + k % m] = -share * (n - j) / (n + 1)
    return weights


def seasonal_mean(window: int, horizon: int, season_length: int, newest: float = 0.5) -> Tensor:
    """(H, W) weights of the forecast "``newest`` the last season, the rest the mean of all" (same phase)."""
    weights = torch.zeros(horizon, window)
    for k in range(horizon):
        same_phase = torch.arange(window - season_length + k % season_length, -1, -season_length)
        if len(same_phase):
            weights[k, same_phase] = (1 - newest) / len(same_phase)
            weights[k, same_phase[0]] += newest
    return weights
