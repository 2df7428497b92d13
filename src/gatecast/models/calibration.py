"""Calibration: how far each quantile should lie from the median, judged by what came true.

Split conformal prediction with the scaled residual of conformalised quantile regression as its score: on windows that
were not trained on, the distance of each level to the median is stretched so that the level holds as often as it says.
Source: Romano, Patterson & Candès 2019, "Conformalized Quantile Regression", with a factor for each level and step.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor, nn

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.inputs import Batch, InputSpec

_ENOUGH = 4000  # residuals behind a factor: fewer windows share theirs among neighbouring steps
_RANGE = (0.25, 4.0)  # of factors
_SAME = 1e-6  # of the median: a quantile that lies no further from it is the median


class Calibrated(nn.Module):
    """A forecaster with calibrated intervals.

    Args:
        spec: sizes of the model.
    """

    calibration: Tensor  # (H, Q) factors

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("calibration", torch.ones(spec.horizon, len(QUANTILES)))

    def raw_quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) forecast before calibration, in units of the target."""
        raise NotImplementedError

    def quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) forecast from the last origin, in units of the target."""
        nonnegative = self.spec.nonnegative or self.spec.log_floor > 0
        return stretch(self.raw_quantiles(batch), self.calibration, nonnegative)

    def calibrate(self, held_out: Iterable[Batch]) -> None:
        """Set the factors by windows that were not trained on."""
        rows = self.spec.lookback
        parts = ((self.raw_quantiles(b), b.target[:, rows:], b.mask[:, rows:]) for b in held_out)
        self.calibration.copy_(factors(parts, self.spec.horizon))


def stretch(quantiles: Tensor, factor: Tensor, nonnegative: bool = False) -> Tensor:
    """Quantiles at their calibrated distance from the median.

    Args:
        quantiles: (B, H, Q) rising.
        factor: (H, Q), 1 changes nothing.
        nonnegative: whether they are cut off at 0.

    Returns:
        (B, H, Q) rising; the median is untouched.
    """
    median = quantiles[..., MEDIAN, None]
    moved = quantiles.where(factor == 1, median + (quantiles - median) * factor)
    return (moved.clamp_min(0) if nonnegative else moved).sort(-1).values


@torch.no_grad()
def factors(held_out: Iterable[tuple[Tensor, Tensor, Tensor]], horizon: int) -> Tensor:
    """Measure the factors.

    A factor is the smallest that lets ceil((n + 1) p) of n residuals lie within, p being the share that should. Where
    that is more than there are, nothing is made narrower. A quantile that is the median cannot be moved, and is no
    residual.

    Args:
        held_out: batches of (B, H, Q) quantiles, (B, H) what came true, (B, H) 1 where that is known.
        horizon: H.

    Returns:
        (H, Q) factors, 1 for the median and where nothing is known.
    """
    parts = [
        (q.double(), y.double().masked_fill(known == 0, torch.nan)) for q, y, known in held_out
    ]
    out = torch.ones(horizon, len(QUANTILES))
    if not parts:
        return out
    quantiles, actual = (torch.cat(part) for part in zip(*parts, strict=True))
    median = quantiles[..., MEDIAN]
    error = actual - median
    by_step = int((~error.isnan()).sum()) / horizon
    shared = min(ceil(_ENOUGH / max(by_step, 1)), horizon)
    for k, level in enumerate(QUANTILES):
        if k == MEDIAN:
            continue
        gap = (quantiles[..., k] - median).abs()
        gap = gap.where(gap > _SAME * median.abs(), torch.nan)
        ratio = error * (1 if level > 0.5 else -1) / gap
        for low in range(0, horizon, shared):
            block = slice(low, low + shared)
            known = ratio[:, block][~ratio[:, block].isnan()]
            if len(known):
                rank = ceil((len(known) + 1) * max(level, 1 - level))
                found = float(known.kthvalue(min(rank, len(known))).values)
                low_most = _RANGE[0] if rank <= len(known) else 1.0
                out[block, k] = min(max(found, low_most), _RANGE[1])
    return out
