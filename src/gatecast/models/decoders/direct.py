"""The direct decoder: a hidden layer per step of the horizon, and a linear skip of the look-back."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gatecast.models.decoders.base import Decoder, Origins, SkipSettings, StepLayer, linear_skip
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec


class Direct(SkipSettings):
    """Settings of the direct decoder."""

    name: Literal["direct"] = "direct"
    """Which decoder this is."""


class DirectDecoder(Decoder):
    """A hidden layer per step, and a linear skip of the look-back that starts out as a seasonal mean."""

    def __init__(
        self,
        settings: Direct,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
    ) -> None:
        super().__init__(head)
        self.steps = StepLayer(n_state, n_step, spec.horizon, head.width, dropout)
        self.skip = linear_skip(spec, settings.linear_skip == "trained")
        with torch.no_grad():
            self.steps.out.bias.copy_(head.bias(0.5))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        raw = self.steps(origins.state, origins.step)  # (B, K, H, P)
        return self.head(raw, origins.frame.x @ self.skip.T, origins.frame)
