"""An ensemble: the plain mean of its members' forecasts, each of which may look back differently far."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gatecast.config import Model, members
from gatecast.models.events import labels
from gatecast.models.heads import pinball
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import location_scale

_LIMIT = 10.0  # spreads that an error counts as, at most
_BETTER = 0.98  # times the Brier score of all is the most that the others may have without a member
_WORSE = 1.1  # times the error of the best member is the most that a member may have


class EnsembleForecaster(nn.Module):
    """Members built from their own recipes, and which of them count.

    The mean of quantiles (rather than of distribution functions) keeps intervals as sharp as the members' own.
    Source: Lichtendahl, Grushka-Cockayne & Winkler 2013. Of an event it is the mean of probabilities.

    Args:
        model: the recipe, with members.
        spec: its sizes, with the members' sizes.
    """

    counts: Tensor  # (M,) bool

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__()
        from gatecast.models.build import build

        self.spec = spec
        pairs = zip(members(model), spec.members, strict=True)
        self.members = nn.ModuleList(build(member, sizes) for member, sizes in pairs)
        self.register_buffer("counts", torch.ones(len(spec.members), dtype=torch.bool))

    def each(self, batch: Batch, which: list[int]) -> Tensor:
        """(len(which), B, H, Q) forecasts of these members, in units of the target; of an event (len(which), B, H)."""
        out = []
        for k in which:
            net, spec = self.members[k], self.spec.members[k]
            answer = net.probabilities if spec.event else net.quantiles
            out.append(answer(batch.newest(spec.lookback + spec.horizon)))  # type: ignore[operator]
        return torch.stack(out)

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H) mean probability of the members that count that the event has happened by each step."""
        return self.each(batch, torch.nonzero(self.counts).flatten().tolist()).mean(0)

    def quantiles(self, batch: Batch) -> Tensor:
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


@torch.no_grad()
def event_veto(net: EnsembleForecaster, validation: Iterable[Batch]) -> list[float]:
    """Leave out, one after the other, members without whom the mean of the others is better.

    Members of an event differ in kind: one that is worse alone may still mend the mean, so that is what is judged, by
    its Brier score over all steps. Less than a fiftieth is not worth a change.

    Args:
        net: whose ``counts`` are set.
        validation: batches of held-out windows.

    Returns:
        The Brier score of each member alone.
    """
    everyone, rows = list(range(len(net.counts))), net.spec.lookback
    parts = []
    for batch in validation:
        y, known = labels(batch.target[:, rows:], batch.mask[:, rows:], net.spec.event)
        errors = (net.each(batch, everyone) - y).nan_to_num(1.0)  # (M, B, H)
        parts.append(errors[:, known > 0])
    errors = torch.cat(parts, 1)  # (M, n)

    def brier(which: list[int]) -> float:
        return float(errors[which].mean(0).square().mean())

    kept = everyone
    while len(kept) > 1:
        rest = min(([k for k in kept if k != left] for left in kept), key=brier)
        if brier(rest) >= _BETTER * brier(kept):
            break
        kept = rest
    net.counts.copy_(torch.tensor([k in kept for k in everyone]))
    return [brier([k]) for k in everyone]
