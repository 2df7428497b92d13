"""From numbers to a predictive distribution, and its loss.

    quantile            the levels themselves, by their quantile loss
    point               one number by mae, mse or huber; around it, per step and level, the spread of its errors
    normal, student     location and scale (and degrees of freedom), by their likelihood
    negative_binomial   mean and dispersion of a count, by its likelihood in units of the target

A decoder hands every head the same two things: raw numbers (..., P), and a ``centre`` (...) in normalised units that
the location adds to. The head makes parameters of them, scores these, and reduces them to the one grid of levels.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, softplus

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.config import Model
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame, normalise, to_space

_NARROWEST = 0.01  # scale of a distribution, in normalised units
_LIMIT = 10.0  # normalised units beyond which a target is not believed


class Head(nn.Module):
    """What every head can do; as it stands, for heads whose first raw number is a location.

    Args:
        model: the recipe.
        spec: its sizes.

    Attributes:
        width: P, raw numbers of a step.
        middle: which of them is the location.
    """

    width: int
    middle = 0

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec

    def bias(self, spread: float) -> Tensor:
        """(P,) raw numbers that start as a distribution of this spread."""
        raise NotImplementedError

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        """(..., P), (...) -> (..., P') parameters."""
        raise NotImplementedError

    def median(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        """(..., P), (...) -> (...) in normalised units: what a decoder feeds back."""
        return raw[..., self.middle] + centre

    def target(self, y: Tensor, known: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        """What the loss compares with, and where it is known.

        Args:
            y, known: (B, K, H) in units of the target, and 1 where there is one.
            frame: of the K origins.
        """
        return normalise(to_space(y, self.spec), known, frame.base, frame.unit, _LIMIT), known

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """(..., P'), (...) -> (...)."""
        raise NotImplementedError

    def quantiles(self, parameters: Tensor) -> Tensor:
        """(..., P') -> (..., Q) in normalised units."""
        raise NotImplementedError


class Quantile(Head):
    """Every level by its quantile loss; the levels never cross."""

    width, middle = len(QUANTILES), MEDIAN

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__(model, spec)
        self.spread_weight = model.spread_weight

    def bias(self, spread: float) -> Tensor:
        return initial_bias(spread)

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        return monotone_quantiles(raw) + centre.unsqueeze(-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        return pinball(parameters, target, self.spread_weight)

    def quantiles(self, parameters: Tensor) -> Tensor:
        return parameters


class Point(Head):
    """One number, and the spread of its errors.

    The spread is a constant per step and level, in units of the origin, learnt by the quantile loss of what the point
    leaves over; it does not move the point. The middle level is the point itself: under ``mse`` that is a mean.
    """

    width = 1

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__(model, spec)
        self.kind = model.loss
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
        if self.kind == "huber":
            own = huber_loss(point, target, reduction="none")
        else:
            error = target - point
            own = error.abs() if self.kind == "mae" else error.square()
        return own + pinball(around, target)

    def quantiles(self, parameters: Tensor) -> Tensor:
        return parameters


class Distribution(Head):
    """A distribution that can be inverted: :meth:`icdf` is its quantiles, and of uniform numbers its samples."""

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        """(..., P'), and levels (...) that broadcast with them -> (...) in normalised units."""
        raise NotImplementedError

    def quantiles(self, parameters: Tensor) -> Tensor:
        levels = torch.tensor(QUANTILES, device=parameters.device)
        return self.icdf(parameters.unsqueeze(-2).float(), levels)


class Normal(Distribution):
    """Location and scale. Parameters: (location, scale)."""

    width = 2

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, _inverse_softplus(spread)])

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        return torch.stack([raw[..., 0] + centre, softplus(raw[..., 1]) + _NARROWEST], -1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        location, scale = parameters.unbind(-1)
        error = (target - location) / scale
        return 0.5 * error.square() + scale.log() + 0.5 * math.log(2 * math.pi)

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        location, scale = parameters.unbind(-1)
        return location + scale * torch.special.ndtri(level)


class Student(Distribution):
    """As the normal, with tails that are learnt. Parameters: (location, scale, degrees of freedom above 2)."""

    width = 3

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, _inverse_softplus(spread), _inverse_softplus(5.0)])

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        location, scale = raw[..., 0] + centre, softplus(raw[..., 1]) + _NARROWEST
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


class NegativeBinomial(Distribution):
    """Counts, with a variance of mean + dispersion mean²; scaled by the mean of the window.

    As in Salinas et al. 2020 (sections 3.1 and 3.3); the mean, in normalised units, is nearly ``raw + centre`` while
    that is well above 0. Targets are rounded to whole numbers. Parameters: (mean, dispersion, unit), the mean in units
    of the target.
    """

    width = 2
    _SHARP = 5.0

    def bias(self, spread: float) -> Tensor:
        return torch.tensor([0.0, _inverse_softplus(spread)])

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


def _inverse_softplus(x: float) -> float:
    return math.log(math.expm1(x))


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
