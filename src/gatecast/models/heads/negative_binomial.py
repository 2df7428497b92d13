"""Counts: mean and dispersion of a negative binomial, by its likelihood in units of the target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gatecast.core.schema import Schema
from gatecast.models.heads.base import DistributionHead, inverse_softplus
from gatecast.models.normalisation import Frame


class NegativeBinomial(Schema):
    """Settings of the negative binomial head."""

    name: Literal["negative_binomial"] = "negative_binomial"
    """Which head this is."""


class NegativeBinomialHead(DistributionHead):
    """Counts, with a variance of mean + dispersion mean²; scaled by the mean of the window.

    As in Salinas et al. 2020 (sections 3.1 and 3.3); the mean, in normalised units, is nearly ``raw + centre`` while
    that is well above 0. Targets are rounded to whole numbers. Parameters: (mean, dispersion, unit), the mean in units
    of the target.
    """

    width = 2
    _SHARP = 5.0

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, inverse_softplus(spread)])

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        mean = softplus(raw[..., 0] + centre, beta=self._SHARP) * frame.unit
        dispersion = softplus(raw[..., 1]) / (1 + frame.unit).sqrt()
        unit = frame.unit.expand_as(mean)
        return torch.stack([mean + 1e-4, dispersion + 1e-3, unit], -1)

    def median(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        return self.icdf(self(raw, centre, frame), torch.full_like(centre, 0.5))

    def target(self, y: Tensor, known: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        return y.round().clamp_min(0).where(known > 0, y.new_zeros(())), known

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean, dispersion, _ = parameters.double().unbind(-1)
        return -_log_count(target.double(), mean, dispersion).to(target.dtype)

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        mean, dispersion, unit = parameters.unbind(-1)
        return count_quantile(level, mean, dispersion) / unit


def _log_count(y: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """Log-probability of counts under a negative binomial, float64."""
    size = 1 / dispersion
    ratio = torch.lgamma(y + size) - torch.lgamma(y + 1) - torch.lgamma(size)
    product = dispersion * mean
    return ratio - size * torch.log1p(product) + y * (product.log() - torch.log1p(product))


_COUNTS = 64  # points at which a distribution function of counts is known


def _counts(mean: Tensor, dispersion: Tensor) -> Tensor:
    """(...) -> (..., 64) counts that cover a negative binomial: all of them if they are few, else dense where it is.

    Far apart ones follow the gamma distribution of the same variance (Wilson & Hilferty 1931: its cube root is nearly
    normal; near 0 its distribution function is a power).
    """
    k = torch.arange(_COUNTS, device=mean.device, dtype=mean.dtype)
    size = (1 / (dispersion + 1 / mean)).unsqueeze(-1)
    power = (3 / size).clamp_min(3.0)
    low, high = (1 - 1 / (9 * size) + z / (3 * size.sqrt()) for z in (-6, 8))
    low, high = (v.clamp_min(0.0) ** (3 / power) for v in (low, high))
    spread = mean.unsqueeze(-1) * (low + (high - low) * k / (_COUNTS - 1)) ** power
    return torch.where(spread[..., -1:] < _COUNTS, k, torch.maximum(k, spread.round()))


# In torch, not scipy.stats.nbinom.ppf: it runs on the device, once per step of a sampled trajectory.
def count_quantile(level: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """Quantiles of a negative binomial: exact where its mass lies below 64, else to about a hundredth of the level.

    Args:
        level, mean, dispersion: (...) that broadcast.

    Returns:
        (...) whole numbers, float32.
    """
    mean, dispersion = torch.broadcast_tensors(mean.double(), dispersion.double())
    counts = _counts(mean, dispersion)
    mass = _log_count(counts, mean.unsqueeze(-1), dispersion.unsqueeze(-1)).exp()
    gap, step = counts.diff(dim=-1), mass.diff(dim=-1)
    between = gap * (mass[..., 1:] + mass[..., :-1]) / 2 + step / 2  # trapezoid; exact if gap is 1
    share = torch.cat([mass[..., :1], between.clamp_min(0)], -1).cumsum(-1)
    share = share / share[..., -1:].clamp_min(1.0)
    shape = torch.broadcast_shapes(level.shape, mean.shape)
    level, share, counts = (
        level.double().expand(shape),
        *(v.expand(*shape, -1) for v in (share, counts)),
    )
    right = (share < level.unsqueeze(-1)).sum(-1, keepdim=True).clamp_max(_COUNTS - 1)
    left = (right - 1).clamp_min(0)
    low, high = (share.gather(-1, i).squeeze(-1) for i in (left, right))
    below, above = (counts.gather(-1, i).squeeze(-1) for i in (left, right))
    part = ((level - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return (below + part * (above - below)).ceil().float()
