"""Logistic regression of an event: the floor of event forecasts, and a member of their ensemble.

Each step of the horizon has weights of its own on the same inputs, which say of a window

    target      its newest known value, the last season, and over one season, two, four … up to the whole window: mean,
                highest, lowest, spread, and the share of values beyond the threshold
    gaps        which values of the last season are known
    covariates  the last season and what is known ahead, each in four parts, and statics

in units of their spread over the training windows. Source: Hastie, Tibshirani & Friedman 2009, section 4.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, binary_cross_entropy_with_logits, one_hot

from gatecast.models.config import Logistic
from gatecast.models.events import labels
from gatecast.models.inputs import Batch, InputSpec

_SEASON = 24  # numbers that describe the last season, at most
_PARTS = 4  # parts that covariates are averaged over, at most
_LIMIT = 10.0  # spreads beyond which an input is not believed
_ROUNDS = 30  # of L-BFGS: more change nothing in the third digit of a score


class LogisticForecaster(nn.Module):
    """The regressions as a module, so that they are packaged and served as any other.

    Args:
        model: the recipe.
        spec: its sizes, and the event.
    """

    centre: Tensor  # (F,) mean of each input over the training windows
    spread: Tensor  # (F,)
    weight: Tensor  # (F, H)
    bias: Tensor  # (H,)

    def __init__(self, model: Logistic, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec
        self.season = min(max(spec.season_length, 8), spec.context_length)
        self.spans = [self.season]
        while self.spans[-1] < spec.context_length:
            self.spans.append(min(2 * self.spans[-1], spec.context_length))
        width = self.inputs(_blank(spec)).shape[1]
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("weight", torch.zeros(width, spec.horizon))
        self.register_buffer("bias", torch.zeros(spec.horizon))

    def inputs(self, batch: Batch) -> Tensor:
        """(B, F) what the regressions see of a batch, in its own units. Unknown values are the mean of the window."""
        s, season = self.spec, self.season
        y, known = batch.target[:, : s.context_length], batch.mask[:, : s.context_length]
        mean = (y * known).sum(1, True) / known.sum(1, True).clamp_min(1)
        y = torch.where(known > 0, y, mean)  # (B, W)
        newest = torch.where(known > 0, torch.arange(s.context_length), -1).amax(1, True)  # (B, 1)
        features = [y.gather(1, newest.clamp_min(0)), _parts(y[:, -season:, None], _SEASON)]
        features.append(_parts(known[:, -season:, None], _SEASON))
        for span in self.spans:
            x = y[:, -span:]
            beyond = labels(x.unsqueeze(-1), known[:, -span:, None], s.event)[0].mean(1)
            features += [x.mean(1, True), x.amax(1, True), x.amin(1, True), beyond]
            features.append(x.std(1, correction=0, keepdim=True))
        past = torch.cat([batch.past, *_hot(batch.past_codes, s.past_cards)], -1)
        ahead = torch.cat([batch.known, *_hot(batch.known_codes, s.known_cards)], -1)
        features += [
            _parts(rows[:, s.context_length - season : s.context_length], _PARTS)
            for rows in (past, ahead)
        ]
        features.append(_parts(ahead[:, s.context_length :], _PARTS))
        return torch.cat([*features, batch.static, *_hot(batch.static_codes, s.static_cards)], 1)

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H) probability, seen from the origin, that the event has happened by each step."""
        x = ((self.inputs(batch) - self.centre) / self.spread).clamp(-_LIMIT, _LIMIT)
        return torch.sigmoid(x @ self.weight + self.bias).cummax(-1).values


def _parts(rows: Tensor, most: int) -> Tensor:
    """(B, L, n) -> (B, P n) means over P <= ``most`` parts of the rows."""
    if rows.shape[2] == 0:
        return rows.flatten(1)
    return adaptive_avg_pool1d(rows.transpose(1, 2), min(most, rows.shape[1])).flatten(1)


def _hot(codes: Tensor, cards: list[int]) -> list[Tensor]:
    """(..., n) codes -> n times (..., cards)."""
    return [one_hot(codes[..., i], n).to(torch.float32) for i, n in enumerate(cards)]


def _blank(s: InputSpec) -> Batch:
    """A batch of one window of which nothing is known."""
    rows = s.context_length + s.horizon
    return Batch(
        target=torch.zeros(1, rows),
        mask=torch.zeros(1, rows),
        past=torch.zeros(1, rows, s.n_past),
        known=torch.zeros(1, rows, s.n_known + s.n_calendar),
        past_codes=torch.zeros(1, rows, len(s.past_cards), dtype=torch.int64),
        known_codes=torch.zeros(1, rows, len(s.known_cards), dtype=torch.int64),
        static=torch.zeros(1, s.n_static),
        static_codes=torch.zeros(1, len(s.static_cards), dtype=torch.int64),
    )


Batches = Callable[[], Iterable[Batch]]


@torch.no_grad()
def fit(
    net: LogisticForecaster, training: Batches, validation: Batches, penalties: list[float]
) -> dict[float, float]:
    """Fit, choosing the penalty by the log loss of the validation windows.

    Args:
        net: filled in place.
        training, validation: each call yields the batches anew.
        penalties: ridge penalties per window, tried in turn.

    Returns:
        Validation log loss of each penalty.
    """
    features, outcomes, known_steps = _training_data(net, training())
    spread, centre = torch.std_mean(features.double(), 0, correction=0)
    net.centre.copy_(centre)
    net.spread.copy_(torch.where(spread > 1e-6 * (1 + centre.abs()), spread, 1.0))
    x = ((features - net.centre) / net.spread).clamp(-_LIMIT, _LIMIT)
    held_out = [(batch, *_labels(net, batch)) for batch in validation()]
    weights = torch.zeros(x.shape[1] + 1, net.spec.horizon, dtype=torch.float64)
    scores: dict[float, float] = {}
    chosen = weights
    for penalty in sorted(penalties, reverse=True):
        weights = regress(x, outcomes, known_steps, penalty, weights)
        net.weight.copy_(weights[:-1])
        net.bias.copy_(weights[-1])
        loss, count = 0.0, 0.0
        for batch, y, known in held_out:
            p = net.probabilities(batch).clamp(1e-6, 1 - 1e-6)
            loss -= float(((y * p.log() + (1 - y) * (1 - p).log()) * known).sum())
            count += float(known.sum())
        score = loss / max(count, 1)
        if score < min(scores.values(), default=float("inf")):
            chosen = weights
        scores[penalty] = score
    net.weight.copy_(chosen[:-1])
    net.bias.copy_(chosen[-1])
    return scores


def _labels(net: LogisticForecaster, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, H) whether it has happened by each step, and where that is known."""
    rows = net.spec.context_length
    return labels(batch.target[:, rows:], batch.mask[:, rows:], net.spec.event)


def _training_data(
    net: LogisticForecaster, batches: Iterable[Batch]
) -> tuple[Tensor, Tensor, Tensor]:
    """(n, F) inputs, (n, H) labels, (n, H) where they are known."""
    rows = [(net.inputs(batch), *_labels(net, batch)) for batch in batches]
    features, outcomes, known = (torch.cat(column) for column in zip(*rows, strict=True))
    return features, outcomes, known


def regress(
    x: Tensor, outcomes: Tensor, known: Tensor, penalty: float, start: Tensor | None = None
) -> Tensor:
    """Weights of ridge-penalised logistic regressions on the same inputs.

    L-BFGS (Nocedal & Wright 2006, section 7.2) in coordinates in which the Hessian at a probability of one half is the
    identity: without that it needs ten times the rounds.

    Args:
        x: (n, F) inputs, about as large as 1.
        outcomes: (n, H) 1 or 0.
        known: (n, H) 1 where a label counts.
        penalty: half of it times the squared weights is added to the mean loss; the bias is free.
        start: (F + 1, H) to begin from.

    Returns:
        (F + 1, H) float64 weights, the bias last.
    """
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1).double()
    n, y, count = len(x), outcomes.double(), known.double() / len(x)
    ridge = torch.full((x.shape[1], 1), penalty, dtype=torch.float64)
    ridge[-1] = 1e-6  # one class alone would send the bias to infinity
    curved = torch.linalg.cholesky(x.T @ x / (4 * n) + torch.diag(ridge[:, 0]))
    moves = torch.linalg.inv(curved).T  # weights = moves @ free
    free = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    if start is not None:
        free = curved.T @ start
    free.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free],
        max_iter=_ROUNDS,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        weights = moves @ free
        own = binary_cross_entropy_with_logits(x @ weights, y, count, reduction="sum")
        total = own + 0.5 * (ridge * weights.square()).sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[arg-type]
    return (moves @ free).detach()
