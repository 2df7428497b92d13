"""A normal distribution by its likelihood."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gatecast.core.schema import Schema
from gatecast.models.heads.base import NARROWEST, DistributionHead, inverse_softplus
from gatecast.models.normalisation import Frame


class Normal(Schema):
    """Settings of the normal head."""

    name: Literal["normal"] = "normal"
    """Which head this is."""


class NormalHead(DistributionHead):
    """Location and scale. Parameters: (location, scale)."""

    width = 2

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, inverse_softplus(spread)])

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        return torch.stack([raw[..., 0] + centre, softplus(raw[..., 1]) + NARROWEST], -1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        location, scale = parameters.unbind(-1)
        error = (target - location) / scale
        return 0.5 * error.square() + scale.log() + 0.5 * math.log(2 * math.pi)

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        location, scale = parameters.unbind(-1)
        return location + scale * torch.special.ndtri(level)
