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
    known = mask > 0
    n = mask.sum(-1, keepdim=True).clamp_min(1)
    x = x.where(known, x.new_zeros(()))
    magnitude = (x.abs() / n).sum(-1, keepdim=True)
    unit = magnitude.where(magnitude > 0, x.new_ones(()))  # squares of large numbers would overflow
    y = x / unit
    mean = y.sum(-1, keepdim=True) / n
    variance = ((y - mean) * mask).square().sum(-1, keepdim=True) / n
    scale = (variance.sqrt().clamp_min(FLOOR) * unit).where(magnitude > 0, x.new_ones(()))
    return mean * unit, scale


def normalise(
    x: Tensor, mask: Tensor, location: Tensor, scale: Tensor, limit: float = 10.0
) -> Tensor:
    """(x - location) / scale within ±limit, and 0 (the location itself) where unknown."""
    return ((x - location) / scale).clamp(-limit, limit).where(mask > 0, x.new_zeros(()))
