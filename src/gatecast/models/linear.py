"""The closed-form floor: one global ridge regression from the look-back to the horizon.

Each window is scaled by its own mean and spread, then every step of the horizon is a linear map of it,
fitted by normal equations without an intercept (an intercept would be the trend of the training span).
Known covariates and the calendar enter by a second ridge on what the first leaves over, one set of weights
for all steps. Quantiles are those of the residuals of held-out windows, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from gatecast.config import QUANTILES, Model
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import location_scale, normalise


class LinearForecaster(nn.Module):
    """Ridge weights as a module, so that it is packaged and served as any other."""

    weight: Tensor  # (W, H)
    known: Tensor  # (n_known + n_calendar, ) weights of what is known ahead
    spread: Tensor  # (H, Q) residual quantiles in normalised units

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.n_known + spec.n_calendar + sum(spec.known_cards)
        self.register_buffer("weight", torch.zeros(spec.window, spec.horizon))
        self.register_buffer("known", torch.zeros(width))
        self.register_buffer("spread", torch.zeros(spec.horizon, len(QUANTILES)))

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, W) scaled window, (B, H, n) what is known ahead less its mean over the window, (B, 1) scaling twice."""
        s = self.spec
        x, seen = batch.target[:, : s.window], batch.mask[:, : s.window]
        location, scale = (v[:, 0] for v in location_scale(x, seen, s.window, 1))
        known = [batch.known]
        for i, cards in enumerate(s.known_cards):
            known.append(
                nn.functional.one_hot(batch.known_codes[..., i], cards).to(batch.known.dtype)
            )
        rows = torch.cat(known, -1)
        ahead = rows[:, s.window :] - rows[:, : s.window].mean(1, keepdim=True)
        return normalise(x, seen, location, scale), ahead, location, scale

    def normalised(self, x: Tensor, ahead: Tensor) -> Tensor:
        """(B, H) point forecast in normalised units."""
        return x @ self.weight + ahead @ self.known

    def targets(self, batch: Batch, location: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H) normalised targets and their mask."""
        y, mask = batch.target[:, self.spec.window :], batch.mask[:, self.spec.window :]
        return normalise(y, mask, location, scale), mask

    def quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) forecast in units of the target."""
        x, ahead, location, scale = self.inputs(batch)
        out = (self.normalised(x, ahead).unsqueeze(-1) + self.spread) * scale.unsqueeze(
            -1
        ) + location.unsqueeze(-1)
        return out.clamp_min(0) if self.spec.nonnegative else out


class _Normal:
    """Normal equations of both ridges, summed over batches in one pass."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows = 0

    def add(self, x: Tensor, ahead: Tensor, y: Tensor) -> None:
        """(B, W) windows, (B, H, F) what is known ahead, (B, H) targets."""
        flat = ahead.flatten(0, 1)
        terms = {
            "xx": x.T @ x,  # (W, W)
            "xy": x.T @ y,  # (W, H)
            "aa": flat.T @ flat,  # (F, F)
            "ay": flat.T @ y.flatten(),  # (F,)
            "ax": torch.einsum("bhf,bw->fwh", ahead, x),  # (F, W, H)
        }
        for name, term in terms.items():
            self.sums[name] = (
                self.sums[name] + term.double() if name in self.sums else term.double()
            )
        self.rows += len(x)

    def weights(self, penalty: float) -> Tensor:
        """(W, H) ridge of the targets on the windows."""
        return _solve(self.sums["xx"], self.sums["xy"], penalty * self.rows)

    def known(self, weight: Tensor) -> Tensor:
        """(F,) ridge of what the windows leave over on what is known ahead."""
        left = self.sums["ay"] - (self.sums["ax"] * weight.double()).sum((1, 2))
        return _solve(self.sums["aa"], left.unsqueeze(-1), 1e-3 * self.rows).squeeze(-1)


def _solve(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    return torch.linalg.solve(
        gram + penalty * torch.eye(len(gram), dtype=gram.dtype), right
    ).float()


Batches = Callable[[], Iterable[Batch]]


@torch.no_grad()
def fit(
    net: LinearForecaster, training: Batches, validation: Batches, penalties: list[float]
) -> dict[float, float]:
    """Fit in closed form, choosing the penalty by the absolute error of the validation windows.

    Args:
        net: filled in place.
        training, validation: each call yields the batches anew.
        penalties: ridge penalties per window, tried in turn.

    Returns:
        Validation error (normalised units) of each penalty.
    """
    normal = _Normal()
    for whole_only in (
        True,
        False,
    ):  # if no window is known throughout, take unknown targets as their window's mean
        if normal.rows == 0:
            for batch in training():
                x, ahead, location, scale = net.inputs(batch)
                y, mask = net.targets(batch, location, scale)
                use = mask.all(-1) | torch.tensor(not whole_only)
                normal.add(x[use], ahead[use], y[use])
    held_out = [(*net.inputs(batch), batch) for batch in validation()]
    scores: dict[float, float] = {}
    chosen = (net.weight.clone(), net.known.clone())
    for penalty in penalties:
        net.weight.copy_(normal.weights(penalty))
        net.known.copy_(normal.known(net.weight))
        error, count = 0.0, 0.0
        for x, ahead, location, scale, batch in held_out:
            y, mask = net.targets(batch, location, scale)
            error += float(((net.normalised(x, ahead) - y).abs() * mask).sum())
            count += float(mask.sum())
        score = error / max(count, 1)
        if score < min(scores.values(), default=float("inf")):
            chosen = (net.weight.clone(), net.known.clone())
        scores[penalty] = score
    net.weight.copy_(chosen[0])
    net.known.copy_(chosen[1])
    net.spread.copy_(_residual_quantiles(net, validation))
    return scores


def _residual_quantiles(net: LinearForecaster, validation: Batches) -> Tensor:
    """(H, Q) quantiles of normalised residuals; pooled over all steps where a step has under 100 of them."""
    parts = []
    for batch in validation():
        x, ahead, location, scale = net.inputs(batch)
        y, mask = net.targets(batch, location, scale)
        parts.append(torch.where(mask.bool(), y - net.normalised(x, ahead), torch.nan))
    residual = torch.cat(parts)
    levels = residual.new_tensor(QUANTILES)
    pooled = torch.nanquantile(_sample(residual[~residual.isnan()]), levels)
    out = torch.nanquantile(residual, levels, dim=0).T  # (H, Q)
    few = ((~residual.isnan()).sum(0) < 100).unsqueeze(-1)
    return torch.where(few | out.isnan(), pooled, out)


def _sample(values: Tensor, most: int = 1_000_000) -> Tensor:
    """Every k-th value, so that torch.quantile (16 million values at most) can take them."""
    return values[:: max(1, -(-len(values) // most))]
