"""Scaling each origin by what could be seen from it: causal, one base and one unit per origin.

Every normalisation is an affine map of the (maybe logged) target, ``o = (f(y) - base) / unit``:

    level       base is the mean of the window, unit its spread
    log         as level, of the logarithm: for what is never negative, and skewed
    seasonal    base is the last season, unit the mean change from season to season; f is the logarithm where the
                training data are positive. The window is seen as its seasonal differences.
    mean        base is 0, unit the mean magnitude of the window, for counts (DeepAR, Salinas et al. 2020)

A :class:`Frame` holds base and unit of every origin, and what the model sees of each window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatecast.models.inputs import InputSpec

FLOOR = 0.05  # of a window's spread, relative to its magnitude
_CHANGE_FLOOR = 1e-4  # of a window's seasonal change, relative to its magnitude
_TINY = 1e-300  # 0 once it is a float32; the root of 0 itself would have no gradient


class Frame(NamedTuple):
    """What a normalisation makes of a sequence; axes as in :mod:`gatecast.models.inputs`.

    Attributes:
        inputs: (B, T, F) all that the encoder reads of the target.
        x: (B, K, D) the windows of the origins in normalised units, newest last: the inputs of linear maps.
        base: (B, K, H) where the forecast of each origin starts from, or (B, K, 1) if all steps start alike.
        unit: (B, K, 1) what one normalised unit is worth.
        relative: (B, K, 1) the unit relative to the level of the series.
    """

    inputs: Tensor
    x: Tensor
    base: Tensor
    unit: Tensor
    relative: Tensor


def trailing_sum(x: Tensor, window: int, stride: int) -> Tensor:
    """Sums of the ``window`` rows that end at every ``stride``-th row, in log2(window) passes and without subtraction.

    Rows between two of them are added up first, where a window is a whole number of strides.

    Args:
        x: (..., R).

    Returns:
        (..., (R - window) // stride + 1).
    """
    if stride > 1 and window % stride == 0:
        x = x[..., : x.shape[-1] // stride * stride].unflatten(-1, (-1, stride)).sum(-1)
        window, stride = window // stride, 1
    n = x.shape[-1] - window + 1
    total, offset, size = x.new_zeros(()), 0, 1
    while size <= window:  # x[t] holds the sum of `size` rows from t on
        if window & size:
            total = total + x[..., offset : offset + n]
            offset += size
        size *= 2
        if size <= window:
            x = x[..., : -(size // 2)] + x[..., size // 2 :]
    return total[..., ::stride]


def _moments(x: Tensor, mask: Tensor, window: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Masked mean, standard deviation and mean magnitude of trailing windows, (..., T, 1) float64 each.

    A sequence is divided by a power of two first, exactly, so that squares of large numbers do not overflow.
    """
    exponent = torch.frexp(x.abs().amax(-1, keepdim=True)).exponent
    unit = torch.pow(2.0, exponent.double())
    y = x.double() / unit
    n, total, magnitude, squares = (
        trailing_sum(part, window, stride).unsqueeze(-1) for part in (mask, y, y.abs(), y * y)
    )  # (..., T, 1) each
    n, unit = n.double().clamp_min(1), unit.unsqueeze(-1)
    mean = total / n
    spread = (squares / n - mean * mean).clamp_min(_TINY).sqrt()
    return mean * unit, spread * unit, magnitude / n * unit


def location_scale(x: Tensor, mask: Tensor, window: int, stride: int) -> tuple[Tensor, Tensor]:
    """Masked mean and spread of trailing windows.

    Args:
        x: (..., R) values, anything where the mask is 0.
        mask: (..., R) 1 where known.
        window, stride: rows of a window, rows between two.

    Returns:
        (..., T, 1) mean, and (..., T, 1) standard deviation, at least 5 % of the mean magnitude and never 0
        (1 where all known values are 0 or none is known).
    """
    mean, spread, magnitude = _moments(_hide(x, mask), mask, window, stride)
    scale = torch.maximum(spread, FLOOR * magnitude)
    scale = scale.where(magnitude > 0, scale.new_ones(()))
    return mean.to(x.dtype), scale.to(x.dtype)


def normalise(
    x: Tensor, mask: Tensor, location: Tensor, scale: Tensor, limit: float = 10.0
) -> Tensor:
    """(x - location) / scale within ±limit, and 0 (the location itself) where unknown."""
    return _hide(((x - location) / scale).clamp(-limit, limit), mask)


def seasonal_fill(x: Tensor, known: Tensor, season_length: int) -> tuple[Tensor, Tensor]:
    """Replace unknown rows by the newest known row of the same phase before them.

    Args:
        x: (B, R) values.
        known: (B, R) bool.

    Returns:
        (B, R) values, and (B, R) bool: whether there was one.
    """
    rows = torch.arange(x.shape[1], device=x.device)
    source = rows.where(known, rows.new_full((), -1))
    pad = -x.shape[1] % season_length
    phases = torch.nn.functional.pad(source, (0, pad), value=-1).unflatten(1, (-1, season_length))
    newest = phases.cummax(1).values.flatten(1)[:, : x.shape[1]]
    return x.gather(1, newest.clamp_min(0)), newest >= 0


def frame(target: Tensor, mask: Tensor, spec: InputSpec, n_origins: int) -> Frame:
    """Normalise the look-back of a batch, origin by origin.

    Args:
        target, mask: (B, R) as in :class:`gatecast.models.inputs.Batch`, up to the last origin.
        spec: says which normalisation.
        n_origins: K, the last origins, for which forecasts are wanted.
    """
    kinds = {"level": _level, "log": _log, "seasonal": _seasonal, "mean": _mean}
    return kinds[spec.normalisation](target, mask, spec, n_origins)


def _level(target: Tensor, mask: Tensor, spec: InputSpec, n_origins: int) -> Frame:
    location, scale = location_scale(target, mask, spec.context_length, spec.stride)  # (B, T, 1)
    relative = scale / (location.abs() + scale)
    return _affine(target, mask, location, scale, relative, spec, n_origins)


def _log(target: Tensor, mask: Tensor, spec: InputSpec, n_origins: int) -> Frame:
    z = _hide(to_space(target, spec), mask)
    mean, spread, _ = (v.to(z.dtype) for v in _moments(z, mask, spec.context_length, spec.stride))
    scale = spread.clamp_min(FLOOR)  # of a logarithm: 5 % of the level
    return _affine(z, mask, mean, scale, scale, spec, n_origins)


def _mean(target: Tensor, mask: Tensor, spec: InputSpec, n_origins: int) -> Frame:
    magnitude = _moments(_hide(target, mask), mask, spec.context_length, spec.stride)[2].to(
        target.dtype
    )
    unit = magnitude.where(magnitude > 0, magnitude.new_ones(()))  # (B, T, 1)
    out = _affine(target, mask, torch.zeros_like(unit), unit, unit, spec, n_origins)
    return out._replace(relative=torch.ones_like(out.relative))  # the encoder reads log(unit)


def _affine(
    target: Tensor,
    mask: Tensor,
    location: Tensor,
    scale: Tensor,
    relative: Tensor,
    spec: InputSpec,
    n_origins: int,
) -> Frame:
    """A frame of the values as they are, less a location and over a scale, (B, T, 1) each."""
    rows, seen = (
        v.unfold(1, spec.context_length, spec.stride) for v in (target, mask)
    )  # (B, T, W)
    read = normalise(rows[..., -spec.n_read :], seen[..., -spec.n_read :], location, scale)
    origin = slice(-n_origins, None)
    x = read[:, origin]
    if spec.n_read < spec.context_length:
        x = normalise(rows[:, origin], seen[:, origin], location[:, origin], scale[:, origin])
    drift = torch.diff(location, dim=1, prepend=location[:, :1]) / scale
    inputs = [read, seen[..., -spec.stride :], relative.log(), drift.clamp(-10, 10)]
    return Frame(
        torch.cat(inputs, -1), x, location[:, origin], scale[:, origin], relative[:, origin]
    )


def _seasonal(target: Tensor, mask: Tensor, spec: InputSpec, n_origins: int) -> Frame:
    m = spec.season_length
    window = spec.context_length
    stride = spec.stride
    z = _hide(to_space(target, spec), mask)
    known = mask > 0
    filled, have = seasonal_fill(z, known, m)  # (B, R)
    both = (known[:, m:] & have[:, :-m]).to(z.dtype)
    change = (filled[:, m:] - filled[:, :-m]) * both
    sums = trailing_sum(torch.stack([both, change.abs()]).double(), window - m, stride)
    n, total = sums.unsqueeze(-1)  # (B, T, 1) each
    mean, spread, magnitude = (v.to(z.dtype) for v in _moments(z, mask, window, stride))
    level = torch.ones_like(magnitude) if spec.log_floor else magnitude
    level = level.where(level > 0, level.new_ones(()))
    relative = (total / n.clamp_min(1)).to(z.dtype) / level + _CHANGE_FLOOR  # (B, T, 1)
    unit, spread = relative * level, spread / level + 1e-3

    changes = change.unfold(1, window - m, stride)  # (B, T, W - m)
    rows, seen = z.unfold(1, window, stride), mask.unfold(1, window, stride)
    read = slice(-spec.n_read, None)
    inputs = [
        (changes[..., read] / unit).clamp(-8, 8),
        normalise(rows[..., read], seen[..., read], mean, spread * level),
        seen[..., -stride:],
        relative.log(),
        spread.log(),
    ]
    whole = inputs[0].shape[-1] == window - m
    x = inputs[0][:, -n_origins:] if whole else (changes / unit)[:, -n_origins:].clamp(-8, 8)
    phase = torch.arange(spec.horizon, device=z.device) % m
    base, has = (
        v[:, window - m :].unfold(1, m, stride)[:, -n_origins:, phase] for v in (filled, have)
    )
    base = base.where(has, mean[:, -n_origins:])
    return Frame(torch.cat(inputs, -1), x, base, unit[:, -n_origins:], relative[:, -n_origins:])


def widths(spec: InputSpec) -> tuple[int, int]:
    """D and F of a :class:`Frame`: width of the normalised window, and of what the encoder reads of the target."""
    if spec.normalisation != "seasonal":
        return spec.context_length, spec.n_read + spec.stride + 2
    changes = spec.context_length - spec.season_length
    return changes, min(spec.n_read, changes) + spec.n_read + spec.stride + 2


def to_space(y: Tensor, spec: InputSpec) -> Tensor:
    """The space in which errors are measured: the logarithm where training targets are positive, else as it is."""
    return (y + spec.log_shift).clamp_min(spec.log_floor).log() if spec.log_floor else y


def from_space(z: Tensor, spec: InputSpec) -> Tensor:
    """Inverse of :func:`to_space`; non-negative targets stay so."""
    if spec.log_floor:
        return (z.clamp_max(88.0).exp() - spec.log_shift).clamp_min(0)
    return z.clamp_min(0) if spec.nonnegative else z


def _hide(x: Tensor, mask: Tensor) -> Tensor:
    return x.where(mask > 0, x.new_zeros(()))
