"""The levels themselves, by their quantile loss."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.core.schema import Schema
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame


class Quantile(Schema):
    """Settings of the quantile head."""

    name: Literal["quantile"] = "quantile"
    """Which head this is."""

    quantile_weight: float = Field(default=1.0, ge=0)
    """Weight of every other quantile level beside the median's 1."""


class QuantileHead(Head):
    """Every level by its quantile loss; the levels never cross."""

    width = len(QUANTILES)
    middle = MEDIAN

    def __init__(self, settings: Quantile, spec: InputSpec) -> None:
        super().__init__(settings, spec)
        self.quantile_weight = settings.quantile_weight

    def bias(self, spread: float) -> Tensor:
        return initial_bias(spread)

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        return monotone_quantiles(raw) + centre.unsqueeze(-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        return pinball(parameters, target, self.quantile_weight)

    def quantiles(self, parameters: Tensor) -> Tensor:
        return parameters


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


def pinball(forecast: Tensor, target: Tensor, quantile_weight: float = 1.0) -> Tensor:
    """Quantile loss, twice the pinball so that the median counts as absolute error.

    Args:
        forecast: (..., Q).
        target: (...).
        quantile_weight: of every other level, beside the median's 1.

    Returns:
        (...) weighted mean over the levels. Source: Koenker & Bassett 1978.
    """
    error = target.unsqueeze(-1) - forecast
    above, below = _slopes(quantile_weight, forecast.dtype, forecast.device)
    return (torch.where(error.detach() < 0, below, above) * error).sum(-1)


@cache
def _slopes(
    quantile_weight: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(Q,), (Q,) what one unit of error above and below each level costs."""
    with torch.inference_mode(False):
        levels = torch.tensor(QUANTILES)
        share = torch.full_like(levels, quantile_weight)
        share[MEDIAN] = 1.0
        share = 2 * share / share.sum()
        return (levels * share).to(device, dtype), ((levels - 1) * share).to(device, dtype)
