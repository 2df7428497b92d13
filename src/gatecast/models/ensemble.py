"""An ensemble: the plain mean of its members' quantiles, each of which may look back differently far."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gatecast.config import Model, members
from gatecast.models.calibration import Calibrated
from gatecast.models.heads import pinball
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import location_scale

_LIMIT = 10.0  # spreads that an error counts as, at most
_WORSE = 1.1  # times the error of the best member is the most that a member may have


class EnsembleForecaster(Calibrated):
    """Members built from their own recipes, and which of them count.

    The mean of quantiles (rather than of distribution functions) keeps intervals as sharp as the members' own.
    Source: Lichtendahl, Grushka-Cockayne & Winkler 2013.

    Args:
        model: the recipe, with members.
        spec: its sizes, with the members' sizes.
    """

    counts: Tensor  # (M,) bool

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__(spec)
        from gatecast.models.build import build

        pairs = zip(members(model), spec.members, strict=True)
        self.members = nn.ModuleList(build(member, sizes) for member, sizes in pairs)
        self.register_buffer("counts", torch.ones(len(spec.members), dtype=torch.bool))

    def each(self, batch: Batch, which: list[int]) -> Tensor:
        """(len(which), B, H, Q) forecasts of these members, in units of the target."""
        out = []
        for k in which:
            spec = self.spec.members[k]
            out.append(self.members[k].quantiles(batch.newest(spec.lookback + spec.horizon)))  # type: ignore[operator]
        return torch.stack(out)

    def raw_quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) mean forecast of the members that count, in units of the target."""
        return self.each(batch, torch.nonzero(self.counts).flatten().tolist()).mean(0)


@torch.no_grad()
def veto(net: EnsembleForecaster, validation: Iterable[Batch]) -> list[float]:
    """Leave out members whose own error is over a tenth above the best member's.

    Anything finer than a veto would fit the validation span. Errors are quantile losses relative to the spread of
    what was known at each origin, each counted as ``_LIMIT`` at most; origins that have seen nothing but zeros or
    unknown values are not counted.

    Args:
        net: whose ``counts`` are set.
        validation: batches of held-out windows.

    Returns:
        The error of each member alone.
    """
    everyone, rows = list(range(len(net.counts))), net.spec.lookback
    total, n = torch.zeros(len(everyone)), torch.zeros(())
    for batch in validation:
        past = batch.target[:, :rows], batch.mask[:, :rows]
        y, known = batch.target[:, rows:], batch.mask[:, rows:]
        scale = location_scale(*past, rows, 1)[1][:, 0]  # (B, 1)
        known = known * (past[0] * past[1]).any(1, keepdim=True)
        loss = pinball(net.each(batch, everyone), y) / scale  # (M, B, H)
        loss = loss.nan_to_num(nan=_LIMIT, posinf=_LIMIT).clamp_max(_LIMIT)
        total += (loss * known).sum((1, 2))
        n += known.sum()
    alone = total / n.clamp_min(1)
    net.counts.copy_(alone <= _WORSE * alone.min())
    return alone.tolist()
