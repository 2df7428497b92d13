"""An ensemble: the plain mean of its recipes' forecasts, each of which may look back differently far.

A recipe trained from several seeds counts as often as any other: what it forecasts is the mean of its members.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn

from gatecast.core.forecast import MEDIAN
from gatecast.models.calibration import Calibrated
from gatecast.models.config import Ensemble, Single
from gatecast.models.events import labels
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import location_scale

_LIMIT = 10.0  # spreads that an error counts as, at most
_GAIN = 0.005  # of its error that the mean must lose for a recipe to be left out


def kept_recipes(model: Ensemble, spec: InputSpec) -> list[tuple[Single, InputSpec]]:
    """The recipes of an ensemble that were not left out, as often as each has seeds, and their sizes."""
    pairs = zip(model.recipes, spec.members, strict=True)
    return [(recipe, sizes) for recipe, sizes in pairs if sizes is not None]


class EnsembleForecaster(Calibrated):
    """Members, each of a recipe of its own, and which of them count; ``alike`` are those of the same recipe.

    The mean of quantiles (rather than of distribution functions) keeps intervals as sharp as the members' own.
    Source: Lichtendahl, Grushka-Cockayne & Winkler 2013. Of an event it is the mean of probabilities.

    Args:
        model: the recipe, with members.
        spec: its sizes, with the members' sizes.
        nets: one for each of :func:`kept_recipes`.
    """

    counts: Tensor  # (M,) bool

    def __init__(self, model: Ensemble, spec: InputSpec, nets: list[nn.Module]) -> None:
        super().__init__(spec)
        both = kept_recipes(model, spec)
        recipes = [recipe for recipe, _ in both]
        self.sizes = [sizes for _, sizes in both]
        self.members = nn.ModuleList(nets)
        self.alike = [
            [k for k, other in enumerate(recipes) if other == recipe]
            for at, recipe in enumerate(recipes)
            if recipe not in recipes[:at]
        ]
        self.register_buffer("counts", torch.ones(len(both), dtype=torch.bool))

    def each(self, batch: Batch, which: list[int]) -> Tensor:
        """(len(which), B, H, Q) forecasts of these members, in units of the target; of an event (len(which), B, H)."""
        out = []
        for k in which:
            net = self.members[k]
            spec = self.sizes[k]
            answer = net.probabilities if spec.event else net.quantiles
            out.append(answer(batch.newest(spec.lookback + spec.horizon)))  # type: ignore[operator]
        return torch.stack(out)

    def mean(self, batch: Batch) -> Tensor:
        """Mean forecast of the recipes that count, shaped as those of :meth:`each`."""
        kept = [group for group in self.alike if self.counts[group[0]]]
        return torch.stack([self.each(batch, group).mean(0) for group in kept]).mean(0)

    def raw_quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) mean forecast of the recipes that count, in units of the target."""
        return self.mean(batch)

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H) mean probability of the recipes that count that the event has happened by each step."""
        return self.mean(batch)


@torch.no_grad()
def veto(
    net: EnsembleForecaster, validation: Iterable[Batch], blocks: np.ndarray
) -> tuple[list[float], float]:
    """Leave out, one after the other, recipes without whose members the mean of the others is better beyond doubt.

    Doubt is two standard errors of the difference, over blocks of windows, and ``_GAIN`` of the error: anything finer
    would fit the validation span. A forecast that is not finite leaves no doubt. A recipe that is worse alone may still
    mend the mean, so that is what is judged: by absolute errors of the median relative to the spread of what was known
    at each origin, each counted as ``_LIMIT`` at most (origins that have seen nothing but zeros or unknown values are
    not counted); of an event by the Brier score over all steps.

    Args:
        net: whose ``counts`` are set.
        validation: batches of held-out windows.
        blocks: (n,) which block each of the windows belongs to, from 0: windows of others say something of their own.

    Returns:
        The error of each member alone, and that of those that count together.
    """
    everyone = list(range(len(net.counts)))
    errors = torch.cat([_errors(net, batch) for batch in validation], 1).numpy()  # (M, n, H)
    broken = np.isinf(errors).any((1, 2))
    errors = errors.clip(-_LIMIT, _LIMIT)
    known = max(int((~np.isnan(errors[0])).sum()), 1)
    power = 2 if net.spec.event else 1

    def by_block(groups: list[list[int]]) -> np.ndarray:
        """Summed error of the mean of groups, a number a block."""
        mean = np.mean([errors[group].mean(0) for group in groups], 0)
        return np.bincount(blocks, np.nansum(np.abs(mean) ** power, 1))

    kept = [group for group in net.alike if not broken[group].any()] or net.alike
    together = by_block(kept)
    while len(kept) > 1:
        fewer = [[group for group in kept if group is not one] for one in kept]
        rest = min(fewer, key=lambda groups: float(by_block(groups).sum()))
        alone = by_block(rest)
        gain = together - alone
        doubt = 2 * gain.std() * sqrt(len(gain))
        if gain.sum() <= max(doubt, _GAIN * together.sum()):
            break
        kept, together = rest, alone
    net.counts.copy_(torch.tensor([any(k in group for group in kept) for k in everyone]))
    return [float(by_block([[k]]).sum()) / known for k in everyone], float(together.sum()) / known


def _errors(net: EnsembleForecaster, batch: Batch) -> Tensor:
    """(M, B, H) errors of every member, NaN at steps that are not known, infinite where there is no forecast."""
    rows, everyone = net.spec.lookback, list(range(len(net.counts)))
    y, known = batch.target[:, rows:], batch.mask[:, rows:]
    if net.spec.event:
        outcomes, sure = labels(y, known, net.spec.event)
        error = net.each(batch, everyone) - outcomes
        return error.nan_to_num(torch.inf).masked_fill(sure == 0, torch.nan)
    past = batch.target[:, :rows], batch.mask[:, :rows]
    scale = location_scale(*past, rows, 1)[1][:, 0]  # (B, 1)
    known = known * (past[0] * past[1]).any(1, keepdim=True)
    error = (net.each(batch, everyone)[..., MEDIAN] - y) / scale  # (M, B, H)
    return error.nan_to_num(torch.inf, torch.inf, -torch.inf).masked_fill(known == 0, torch.nan)
