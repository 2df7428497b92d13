"""Scores of event forecasts, and the baselines that a net has to beat.

    auroc         chance that a window where it happened got more than one where it did not       (Fawcett 2006)
    brier         mean (p - happened)²                                                            (Brier 1950)
    reliability   what happened among forecasts of about the same probability                     (Murphy 1973)

Scores are of one step of the horizon, or of all of them pooled; NaN labels are unknown and count nowhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history
from gatecast.forecast import Forecast

_ROUNDS = 50  # of Newton's method; it needs about eight


def happened(y: np.ndarray, threshold: float, above: bool = True) -> np.ndarray:
    """Whether the target has crossed a threshold by each step.

    Args:
        y: (n, H) targets, NaN where unknown.
        threshold: crossed strictly.
        above: whether the event lies above it.

    Returns:
        (n, H) 1, 0, or NaN where an unknown step leaves it open; as :func:`gatecast.models.events.labels`.
    """
    crossed = np.logical_or.accumulate(y > threshold if above else y < threshold, axis=1)
    open_ = np.logical_or.accumulate(np.isnan(y), axis=1)
    return np.where(crossed, 1.0, np.where(open_, np.nan, 0.0))


def _known(p: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    use = ~np.isnan(label)
    return np.asarray(p, np.float64)[use], np.asarray(label, np.float64)[use]


def auroc(p: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve by the ranks of Mann & Whitney; NaN where only one of both classes occurs.

    Args:
        p, label: (...) probabilities; 1, 0 or NaN.
    """
    p, label = _known(p, label)
    n1 = label.sum()
    n0 = len(label) - n1
    if n1 == 0 or n0 == 0:
        return float("nan")
    _, code, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[code]  # ties share their mean rank
    return float((rank[label > 0].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def brier(p: np.ndarray, label: np.ndarray) -> float:
    """Mean squared error of the probabilities; NaN without a known label."""
    p, label = _known(p, label)
    return float(np.square(p - label).mean()) if len(p) else float("nan")


def reliability(p: np.ndarray, label: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """One row per bin of equal width that holds a forecast.

    Returns:
        ``forecast`` (mean probability), ``observed`` (share that happened), ``n``.
    """
    p, label = _known(p, label)
    code = np.minimum((p * bins).astype(np.int64), bins - 1)
    table = pd.DataFrame({"forecast": p, "observed": label, "bin": code}).groupby("bin")
    return table.mean().assign(n=table.size())


class Persistence:
    """The event goes on if it is on now: a constant per step and state of the newest known value, from counts.

    Args:
        threshold, above: of the event.
    """

    name = "persistence"

    def __init__(self, horizon: int, threshold: float, above: bool = True) -> None:
        self.horizon, self.threshold, self.above = horizon, threshold, above
        self.share = np.full((2, horizon), 0.5)

    def fit(self, panel: Panel, windows: Windows, y: np.ndarray) -> Persistence:
        """Count, over windows and their (n, H) targets, how often the event follows each state."""
        on, label = self._on(panel, windows), happened(y, self.threshold, self.above)
        for state in (0, 1):
            of_state = label[on == state]
            known = (~np.isnan(of_state)).sum(0)
            rate = (np.nansum(of_state, 0) + 0.5) / (known + 1)  # Krichevsky & Trofimov 1981
            self.share[state] = np.maximum.accumulate(rate)
        return self

    def predict(self, panel: Panel, windows: Windows) -> Forecast:
        """(n, H, 1) P(by each step)."""
        values = self.share[self._on(panel, windows)][..., None].astype(np.float32)
        return Forecast(values, windows, (0.5,), "event")

    def _on(self, panel: Panel, windows: Windows) -> np.ndarray:
        """(n,) 1 where the newest known value of the last season is an event."""
        last = _filled(history(panel, windows, panel.meta.season_length))[:, -1]
        return (last > self.threshold if self.above else last < self.threshold).astype(np.int64)


class Logistic:
    """Logistic regression of the event by each step on the last season, relative to the threshold.

    One regression per step, ridge-penalised, by Newton's method; probabilities are made non-decreasing afterwards.
    Source: Hastie, Tibshirani & Friedman 2009, section 4.4.1.

    Args:
        threshold, above: of the event.
        penalty: ridge penalty on every weight but the intercept.
    """

    name = "logistic"

    def __init__(
        self, horizon: int, threshold: float, above: bool = True, penalty: float = 1.0
    ) -> None:
        self.horizon, self.threshold, self.above = horizon, threshold, above
        self.penalty, self.unit = penalty, 1.0
        self.weights = np.zeros((horizon, 1))

    def fit(self, panel: Panel, windows: Windows, y: np.ndarray) -> Logistic:
        """Fit on windows and their (n, H) targets."""
        rows = self._rows(panel, windows)
        self.unit = float(np.abs(rows).mean()) or 1.0
        x, label = self._inputs(panel, windows), happened(y, self.threshold, self.above)
        self.weights = np.stack([logistic_weights(x, column, self.penalty) for column in label.T])
        return self

    def predict(self, panel: Panel, windows: Windows) -> Forecast:
        """(n, H, 1) P(by each step)."""
        p = _sigmoid(self._inputs(panel, windows) @ self.weights.T)
        values = np.maximum.accumulate(p, 1)[..., None].astype(np.float32)
        return Forecast(values, windows, (0.5,), "event")

    def _rows(self, panel: Panel, windows: Windows) -> np.ndarray:
        rows = _filled(history(panel, windows, panel.meta.season_length))
        return np.nan_to_num(rows - self.threshold)

    def _inputs(self, panel: Panel, windows: Windows) -> np.ndarray:
        """(n, m + 1) the last season beyond the threshold in mean magnitudes, and a constant."""
        scaled = np.clip(self._rows(panel, windows) / self.unit, -10, 10)
        return np.concatenate([scaled, np.ones((len(scaled), 1))], 1)


def logistic_weights(x: np.ndarray, label: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of a ridge-penalised logistic regression.

    Args:
        x: (n, F) inputs, the last of which is the constant 1: its weight is not penalised.
        label: (n,) 1, 0 or NaN (left out).
        penalty: half of it times the squared weights is added to the summed loss.

    Returns:
        (F,) float64; all 0 without a known label.
    """
    use = ~np.isnan(label)
    x, label = np.asarray(x[use], np.float64), label[use]
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 1e-6  # one class alone would send the intercept to infinity
    weights = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - label) + ridge * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * z))


def _filled(rows: np.ndarray) -> np.ndarray:
    """(n, m) with unknown values replaced by the known one before them (NaN while there is none)."""
    index = np.where(np.isnan(rows), 0, np.arange(rows.shape[1]))
    return np.take_along_axis(rows, np.maximum.accumulate(index, 1), 1)
