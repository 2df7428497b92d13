"""An ensemble: the plain mean of its members' quantiles, each of which may look back differently far."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatecast.config import Model, members
from gatecast.models.inputs import Batch, InputSpec


class EnsembleForecaster(nn.Module):
    """Members built from their own recipes, and which of them count.

    The mean of quantiles (rather than of distribution functions) keeps intervals as sharp as the members' own.
    Source: Lichtendahl, Grushka-Cockayne & Winkler 2013.

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

    def each(self, batch: Batch) -> Tensor:
        """(M, B, H, Q) forecast of every member, in units of the target."""
        out = []
        for member, spec in zip(self.members, self.spec.members, strict=True):
            out.append(member.quantiles(batch.newest(spec.lookback + spec.horizon)))  # type: ignore[operator]
        return torch.stack(out)

    def quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) mean forecast of the members that count, in units of the target."""
        return self.each(batch)[self.counts].mean(0)
