"""From numbers to a predictive distribution, and its loss."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gatecast.config import MEDIAN, QUANTILES


def monotone_quantiles(raw: Tensor) -> Tensor:
    """(..., Q) unconstrained to (..., Q) non-decreasing (but for rounding): the median, and positive steps from it."""
    return softplus(raw) @ _steps(raw.dtype, raw.device) + raw[..., MEDIAN : MEDIAN + 1]


@cache
def _steps(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(Q, Q) which steps lead from the median to each level, and in which direction."""
    n = len(QUANTILES)
    with torch.inference_mode(False):  # kept for training too, whoever asks first
        level, step = torch.arange(n), torch.arange(n).unsqueeze(1)
        up = (step > MEDIAN) & (step <= level)
        down = (step < MEDIAN) & (step >= level)
        return (up.float() - down.float()).to(device, dtype)


def initial_bias(spread: float) -> Tensor:
    """(Q,) bias that makes :func:`monotone_quantiles` start as a normal distribution of this spread."""
    z = torch.special.ndtri(torch.tensor(QUANTILES)) * spread
    gap = z.diff()
    gaps = torch.cat([gap[:MEDIAN], gap.new_zeros(1), gap[MEDIAN:]])
    bias = torch.log(torch.expm1(gaps.clamp_min(1e-3)))  # inverse of softplus
    bias[MEDIAN] = 0.0
    return bias


def pinball(forecast: Tensor, target: Tensor, spread_weight: float = 1.0) -> Tensor:
    """Quantile loss, twice the pinball so that the median counts as absolute error.

    Args:
        forecast: (..., Q).
        target: (...).
        spread_weight: of every other level, beside the median's 1.

    Returns:
        (...) weighted mean over the levels. Source: Koenker & Bassett 1978.
    """
    error = target.unsqueeze(-1) - forecast
    above, below = _slopes(spread_weight, forecast.dtype, forecast.device)
    return (torch.where(error.detach() < 0, below, above) * error).sum(-1)


@cache
def _slopes(
    spread_weight: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(Q,), (Q,) what one unit of error above and below each level costs."""
    with torch.inference_mode(False):
        levels = torch.tensor(QUANTILES)
        share = torch.full_like(levels, spread_weight)
        share[MEDIAN] = 1.0
        share = 2 * share / share.sum()
        return (levels * share).to(device, dtype), ((levels - 1) * share).to(device, dtype)
