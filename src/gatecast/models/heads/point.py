"""One number by mae, mse or huber; around it, per step and level, the spread of its errors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from gatecast.core.forecast import MEDIAN
from gatecast.core.schema import Schema
from gatecast.models.heads.base import Head
from gatecast.models.heads.quantile import initial_bias, monotone_quantiles, pinball
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame


class Point(Schema):
    """Settings of the point head."""

    name: Literal["point"] = "point"
    """Which head this is."""

    loss: Literal["mae", "mse", "huber"] = "mae"
    """What the point minimises."""


class PointHead(Head):
    """One number, and the spread of its errors.

    The spread is a constant per step and level, in units of the origin, learnt by the quantile loss of what the point
    leaves over; it does not move the point. The middle level is the point itself: under ``mse`` that is a mean.
    """

    width = 1

    def __init__(self, settings: Point, spec: InputSpec) -> None:
        super().__init__(settings, spec)
        self.measure = settings.loss
        self.spread = nn.Parameter(initial_bias(0.5).repeat(spec.horizon, 1))  # (H, Q)

    def bias(self, spread: float) -> Tensor:
        return torch.zeros(1)

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        around = monotone_quantiles(self.spread)
        around = around - around[:, MEDIAN : MEDIAN + 1]
        return around + (raw + centre.unsqueeze(-1))

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        point = parameters[..., MEDIAN]
        around = parameters - point.unsqueeze(-1) + point.detach().unsqueeze(-1)
        if self.measure == "huber":
            own = huber_loss(point, target, reduction="none")
        else:
            error = target - point
            own = error.abs() if self.measure == "mae" else error.square()
        return own + pinball(around, target)

    def quantiles(self, parameters: Tensor) -> Tensor:
        return parameters
