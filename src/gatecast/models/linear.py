"""The closed-form floor: one global ridge regression from the look-back to the horizon.

Each window is normalised as a recurrent net's is (its level and spread, or its changes from season to season), then
every step of the horizon is a linear map of it, fitted by normal equations without an intercept (an intercept would
be the trend of the training span). Known covariates and the calendar enter by a second ridge on what the first
leaves over, one set of weights for all steps, if they lower the error of held-out windows by a hundredth. Quantiles
are those of the residuals of held-out windows, step by step, about their median (which would be a trend again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.calibration import Calibrated
from gatecast.models.config import Linear
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import frame, from_space, normalise, to_space, widths

_BLOCK = 48  # steps of the horizon that share their windows
_FEW = 0.1  # of the windows in which a block is known in part
_GAIN = 0.99  # times the error without what is known ahead is the most it may leave


class Window(NamedTuple):
    """What the closed form sees of a batch.

    Attributes:
        x: (B, D) normalised windows.
        ahead: (B, H, F) what is known ahead, less its mean over the window.
        base, unit: (B, H or 1), (B, 1) what turns a forecast into the space of the target.
    """

    x: Tensor
    ahead: Tensor
    base: Tensor
    unit: Tensor


class LinearForecaster(Calibrated):
    """Ridge weights as a module, so that it is packaged and served as any other."""

    weight: Tensor  # (D, H)
    known: Tensor  # (F,) weights of what is known ahead
    spread: Tensor  # (H, Q) residual quantiles in normalised units

    def __init__(self, model: Linear, spec: InputSpec) -> None:
        super().__init__(spec)
        width = spec.n_known + spec.n_calendar + sum(spec.known_cards)
        self.register_buffer("weight", torch.zeros(widths(spec)[0], spec.horizon))
        self.register_buffer("known", torch.zeros(width))
        self.register_buffer("spread", torch.zeros(spec.horizon, len(QUANTILES)))

    def window(self, batch: Batch) -> Window:
        """Normalise the look-back of a batch."""
        s = self.spec
        seen = frame(batch.target[:, : s.context_length], batch.mask[:, : s.context_length], s, 1)
        known = [batch.known]
        for i, cards in enumerate(s.known_cards):
            known.append(
                nn.functional.one_hot(batch.known_codes[..., i], cards).to(batch.known.dtype)
            )
        rows = torch.cat(known, -1)
        ahead = rows[:, s.context_length :] - rows[:, : s.context_length].mean(1, keepdim=True)
        return Window(seen.x[:, 0], ahead, seen.base[:, 0], seen.unit[:, 0])

    def normalised(self, window: Window) -> Tensor:
        """(B, H) point forecast in normalised units."""
        return window.x @ self.weight + window.ahead @ self.known

    def targets(self, batch: Batch, window: Window) -> tuple[Tensor, Tensor]:
        """(B, H) normalised targets and their mask."""
        y, mask = (
            batch.target[:, self.spec.context_length :],
            batch.mask[:, self.spec.context_length :],
        )
        return normalise(to_space(y, self.spec), mask, window.base, window.unit), mask

    def raw_quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) forecast before calibration, in units of the target."""
        window = self.window(batch)
        out = self.normalised(window).unsqueeze(-1) + self.spread
        return from_space(out * window.unit.unsqueeze(-1) + window.base.unsqueeze(-1), self.spec)


class _Normal:
    """Normal equations, summed over batches; a block of steps uses the windows in which it is wholly known."""

    def __init__(self, horizon: int) -> None:
        self.blocks = [slice(a, min(a + _BLOCK, horizon)) for a in range(0, horizon, _BLOCK)]
        self.shared: Tensor | float = 0.0  # (D, D) of the windows that all blocks use
        self.own: list[Tensor | float] = [0.0] * len(
            self.blocks
        )  # (D, D) of those that only some do
        self.right: list[Tensor | float] = [0.0] * len(self.blocks)  # (D, steps)
        self.rows = [0] * len(self.blocks)

    def add(self, x: Tensor, y: Tensor, use: Tensor) -> None:
        """(B, D) windows, (B, H) targets, (B, blocks) bool."""
        everywhere = use.all(1)
        self.shared = self.shared + _gram(x[everywhere])
        for k, block in enumerate(self.blocks):
            self.own[k] = self.own[k] + _gram(x[use[:, k] & ~everywhere])
            right = x[use[:, k]].T @ y[use[:, k], block]
            self.right[k] = self.right[k] + right.double()
            self.rows[k] += int(use[:, k].sum())

    def weights(self, penalty: float) -> Tensor:
        """(D, H) ridge of the targets on the windows."""
        parts = zip(self.own, self.right, self.rows, strict=True)
        solved = [
            _solve(torch.as_tensor(self.shared + own), torch.as_tensor(right), penalty * rows)
            for own, right, rows in parts
        ]
        return torch.cat(solved, 1)


def _gram(x: Tensor) -> Tensor | float:
    return (x.T @ x).double() if len(x) else 0.0


def _solve(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    return torch.linalg.solve(
        gram + penalty * torch.eye(len(gram), dtype=gram.dtype), right
    ).float()


Batches = Callable[[], Iterable[Batch]]


@torch.no_grad()
def fit(
    net: LinearForecaster,
    training: Batches,
    few: Batches,
    validation: Batches,
    penalties: list[float],
) -> dict[float, float]:
    """Fit in closed form, choosing the penalty by the absolute error of the validation windows.

    Args:
        net: filled in place.
        training, few, validation: each call yields the batches anew; ``few`` are some of the training batches,
            for what is known ahead: every step of a window is a sample of it.
        penalties: ridge penalties per window, tried in turn.

    Returns:
        Validation error (normalised units) of each penalty.
    """
    normal = _equations(net, training)
    held_out = list(_seen(net, validation))
    scores: dict[float, float] = {}
    best, chosen = float("inf"), net.weight.clone()
    for penalty in penalties:
        net.weight.copy_(normal.weights(penalty))
        scores[penalty] = _error(net, held_out)
        if scores[penalty] < best:
            best, chosen = scores[penalty], net.weight.clone()
    net.weight.copy_(chosen)
    if len(net.known):
        net.known.copy_(_known(net, few))
        if _error(net, held_out) > _GAIN * best:
            net.known.zero_()
    net.spread.copy_(_residual_quantiles(net, held_out))
    return scores


def _equations(net: LinearForecaster, training: Batches) -> _Normal:
    """Normal equations of all blocks of steps.

    A block of which fewer than ``_FEW`` of the windows are wholly known takes all in which something is known, with
    the base for what is not.
    """
    normal = _Normal(net.spec.horizon)
    whole = [True] * len(normal.blocks)
    while True:
        some_rows = [0] * len(whole)
        for window, y, mask in _seen(net, training):
            use = []
            for k, block in enumerate(normal.blocks):
                some = mask[:, block].any(-1)
                some_rows[k] += int(some.sum())
                use.append(mask[:, block].all(-1) if whole[k] else some)
            normal.add(window.x, y, torch.stack(use, 1))
        parts = zip(whole, normal.rows, some_rows, strict=True)
        poor = [its_whole and rows < _FEW * some for its_whole, rows, some in parts]
        if not any(poor):
            return normal
        whole = [its_whole and not bad for its_whole, bad in zip(whole, poor, strict=True)]
        normal = _Normal(net.spec.horizon)


Seen = tuple[Window, Tensor, Tensor]


def _seen(net: LinearForecaster, batches: Batches) -> Iterator[Seen]:
    """Windows, their normalised targets, and which of these count: of windows that have seen more than zeros."""
    for batch in batches():
        window, rows = net.window(batch), net.spec.context_length
        y, mask = net.targets(batch, window)
        has_seen = (batch.target * batch.mask)[:, :rows].any(1, keepdim=True)
        yield window, y, mask * has_seen


def _error(net: LinearForecaster, held_out: list[Seen]) -> float:
    """Mean absolute error in normalised units."""
    error, count = 0.0, 0.0
    for window, y, mask in held_out:
        error += float(((net.normalised(window) - y).abs() * mask).sum())
        count += float(mask.sum())
    return error / max(count, 1)


def _known(net: LinearForecaster, few: Batches) -> Tensor:
    """(F,) ridge of what the windows leave over on what is known ahead."""
    gram: Tensor | float = 0.0
    right: Tensor | float = 0.0
    windows = 0
    for window, y, mask in _seen(net, few):
        ahead, left = window.ahead[mask > 0], (y - window.x @ net.weight)[mask > 0]
        gram, right = gram + _gram(ahead), right + (ahead.T @ left).double()
        windows += len(y)
    return _solve(gram, right.unsqueeze(-1), 1e-3 * windows).squeeze(-1)  # type: ignore[arg-type, union-attr]


def _residual_quantiles(net: LinearForecaster, held_out: list[Seen]) -> Tensor:
    """(H, Q) quantiles of normalised residuals less their median; pooled over all steps where one has under 100."""
    residual = torch.cat(
        [
            torch.where(mask > 0, y - net.normalised(window), torch.nan)
            for window, y, mask in held_out
        ]
    )
    levels = residual.new_tensor(QUANTILES)
    pooled = torch.nanquantile(_sample(residual[~residual.isnan()]), levels)
    out = torch.nanquantile(residual, levels, dim=0).T  # (H, Q)
    few = ((~residual.isnan()).sum(0) < 100).unsqueeze(-1)
    out = torch.where(few | out.isnan(), pooled, out)
    return out - out[:, MEDIAN, None]


def _sample(values: Tensor, most: int = 1_000_000) -> Tensor:
    """Every k-th value, so that torch.quantile (16 million values at most) can take them."""
    return values[:: max(1, -(-len(values) // most))]
