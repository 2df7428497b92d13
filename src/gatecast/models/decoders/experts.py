"""Gated linear experts: linear maps of the look-back, mixed for every step by a gate from the state."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gatecast.core.schema import Schema
from gatecast.models.decoders.base import Decoder, Origins, StepLayer, seasonal_mean
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import widths


class Experts(Schema):
    """Settings of the experts decoder."""

    name: Literal["experts"] = "experts"
    """Which decoder this is."""

    n_experts: int = Field(8, ge=1)
    """Linear maps of the look-back that the gate mixes."""


class ExpertsDecoder(Decoder):
    """Gated linear experts: E linear maps of the look-back, one softmax gate per step from the recurrent state.

    The maps start between seasonal naive and a seasonal mean. A linear map of the state adds location and spread;
    where covariates are known ahead, a :class:`StepLayer` moves each step by what is known of it.
    """

    def __init__(
        self,
        settings: Experts,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
    ) -> None:
        super().__init__(head)
        n_experts = settings.n_experts
        horizon = spec.horizon
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(n_state, horizon * head.width)
        self.gate = nn.Linear(n_state, horizon * n_experts)
        starts = [
            _expert(spec, share / max(1, n_experts - 1)) for share in range(n_experts)
        ]  # (H, D) each
        self.experts = nn.Parameter(torch.cat(starts))  # (E H, D)
        known = spec.n_known + spec.n_calendar + len(spec.known_cards)
        self.steps = StepLayer(n_state, n_step, horizon, 1, dropout) if known else None
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.copy_(head.bias(1.0).repeat(horizon))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        _, step, frame = origins
        state = self.dropout(origins.state)
        horizon = step.shape[2]
        gate = self.gate(state).unflatten(-1, (-1, horizon)).softmax(-2)  # (B, K, E, H)
        forecasts = (frame.x @ self.experts.T).unflatten(-1, (-1, horizon))  # (B, K, E, H)
        mixed = (forecasts * gate).sum(-2)  # (B, K, H)
        if self.steps is not None:
            mixed = mixed + self.steps(state, step).squeeze(-1)
        raw = self.out(state).unflatten(-1, (horizon, -1))  # (B, K, H, P)
        return self.head(raw, mixed, frame)


def _expert(spec: InputSpec, share: float) -> Tensor:
    """(H, D) weights of a forecast between the base (share 0) and the mean of all seasons (share 1)."""
    m = spec.season_length
    if spec.normalisation != "seasonal":
        naive = seasonal_mean(spec.context_length, spec.horizon, m, 1.0)
        return naive + share * (seasonal_mean(spec.context_length, spec.horizon, m, 0.0) - naive)
    width = widths(spec)[0]
    weights = torch.zeros(spec.horizon, width)
    n = width // m  # changes of the same phase: their weighted sum is the mean season less the last
    for k in range(spec.horizon):
        for j in range(n):
            weights[k, width - (j + 1) * m + k % m] = -share * (n - j) / (n + 1)
    return weights
