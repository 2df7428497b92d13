"""Scaling each origin by what could be seen from it: causal, one location and scale per origin."""

from __future__ import annotations

from torch import Tensor

FLOOR = 0.05


def location_scale(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Masked mean and spread of the last axis.

    Args:
        x: (..., W) values, anything where the mask is 0.
        mask: (..., W) 1 where known.

    Returns:
        (..., 1) mean, and (..., 1) standard deviation, at least 5 % of the mean magnitude and never 0
        (1 where all known values are 0 or none is known).
    """
    n = mask.sum(-1, keepdim=True).clamp_min(1)
    location = (x * mask).sum(-1, keepdim=True) / n
    variance = ((x - location) * mask).square().sum(-1, keepdim=True) / n
    magnitude = (x.abs() * mask).sum(-1, keepdim=True) / n
    scale = variance.sqrt().maximum(FLOOR * magnitude)
    return location, scale.where(scale > 0, scale.new_ones(()))


def normalise(
    x: Tensor, mask: Tensor, location: Tensor, scale: Tensor, limit: float = 10.0
) -> Tensor:
    """(x - location) / scale within ±limit, and 0 (the location itself) where unknown."""
    return ((x - location) / scale).clamp(-limit, limit) * mask
