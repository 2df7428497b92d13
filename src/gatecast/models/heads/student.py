"""Student's t by its likelihood: as the normal, with tails that are learnt."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gatecast.core.schema import Schema
from gatecast.models.heads.base import NARROWEST, DistributionHead, inverse_softplus
from gatecast.models.normalisation import Frame


class Student(Schema):
    """Settings of the Student head."""

    name: Literal["student"] = "student"
    """Which head this is."""


class StudentHead(DistributionHead):
    """As the normal, with tails that are learnt. Parameters: (location, scale, degrees of freedom above 2)."""

    width = 3

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, inverse_softplus(spread), inverse_softplus(5.0)])

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        location, scale = raw[..., 0] + centre, softplus(raw[..., 1]) + NARROWEST
        return torch.stack([location, scale, 2.0 + softplus(raw[..., 2])], -1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        location, scale, freedom = parameters.unbind(-1)
        error = (target - location) / scale
        half = 0.5 * (freedom + 1)
        constant = torch.lgamma(0.5 * freedom) - torch.lgamma(half) + 0.5 * freedom.log()
        return (
            half * torch.log1p(error.square() / freedom)
            + scale.log()
            + constant
            + 0.5 * math.log(math.pi)
        )

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        location, scale, freedom = parameters.unbind(-1)
        return location + scale * student_quantile(level, freedom)


# In torch, not scipy.stats.t.ppf: it runs on the device, once per step of a sampled trajectory, with gradients.
def student_quantile(level: Tensor, freedom: Tensor) -> Tensor:
    """Quantiles of Student's t with 2 or more degrees of freedom, to about 1e-4.

    Source: Hill 1970, Algorithm 396, Communications of the ACM 13(10).
    """
    level, n = torch.broadcast_tensors(level.double(), freedom.double())
    tails = 2 * torch.minimum(level, 1 - level)
    a = 1 / (n - 0.5)
    b = 48 / a.square()
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * (0.5 * math.pi * a).sqrt() * n
    far = (d * tails) ** (2 / n)

    x = torch.special.ndtri(0.5 * tails)
    y = x.square()
    e = torch.where(n < 5, c + 0.3 * (n - 4.5) * (x + 0.6), c)
    e = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + e
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / e - y - 3) / b + 1) * x
    near = torch.expm1(a * y.square())

    tail = 1 / (((n + 6) / (n * far) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)
    tail = (tail * far - 1) * (n + 1) / (n + 2) + 1 / far
    size = (n * torch.where(far > 0.05 + a, near, tail)).sqrt()
    return torch.where(level < 0.5, -size, size).float()
