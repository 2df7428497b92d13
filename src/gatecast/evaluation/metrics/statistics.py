"""Statistics: pure functions of a batch of forecasts, one number per (window, step).

NaN where the target is unknown, or where the series has no scale: such values count nowhere.

Axes: n windows, H steps, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.data.windows import Windows
from gatecast.evaluation.metrics.scales import Scales

DECILES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The levels of the weighted quantile loss, as GIFT-Eval and fev take it."""

INTERVALS = {
    "95": (QUANTILES.index(0.025), QUANTILES.index(0.975)),
    "80": (QUANTILES.index(0.1), QUANTILES.index(0.9)),
}
"""Columns of the lower and the upper bound of each central interval."""


@dataclass(frozen=True)
class Batch:
    """Some windows of a backtest with their targets and their forecast.

    Attributes:
        windows: n of them, in the order of their series.
        y: (n, H) float64 targets, NaN where unknown.
        values: (n, H, Q) forecast quantiles.
        scales: of all series of the panel.
        first: position of the first one among all windows of the backtest.
    """

    windows: Windows
    y: np.ndarray
    values: np.ndarray
    scales: Scales
    first: int = 0

    @property
    def rows(self) -> slice:
        """Which of the backtest's windows these are."""
        return slice(self.first, self.first + len(self.windows))

    @cached_property
    def known(self) -> np.ndarray:
        """(n, H) whether the target is known."""
        return ~np.isnan(self.y)

    @cached_property
    def size(self) -> np.ndarray:
        """(n, H) |y|."""
        return np.abs(self.y)

    @cached_property
    def point(self) -> np.ndarray:
        """(n, H) float64, the median."""
        return self.values[..., MEDIAN].astype(np.float64)

    @cached_property
    def error(self) -> np.ndarray:
        """(n, H) actual - forecast."""
        return self.y - self.point

    def bounds(self, interval: str) -> tuple[np.ndarray, np.ndarray]:
        """(n, H), (n, H) float64: the bounds of a central interval of :data:`INTERVALS`."""
        low, high = INTERVALS[interval]
        return self.values[..., low].astype(np.float64), self.values[..., high].astype(np.float64)

    def of_series(self, scale: np.ndarray) -> np.ndarray:
        """(n, 1) the scale of each window's series."""
        return scale[self.windows.series, None]


Statistic = Callable[[Batch], np.ndarray]


def absolute_error(b: Batch) -> np.ndarray:
    """|y - f|."""
    return np.abs(b.error)


def signed_error(b: Batch) -> np.ndarray:
    """f - y: positive is too high."""
    return -b.error


def percentage_error(b: Batch) -> np.ndarray:
    """200 |y - f| / (|y| + |f|), and 0 for a forecast of 0 for 0 (M4, Makridakis et al. 2020)."""
    size = b.size + np.abs(b.point)
    share = np.divide(np.abs(b.error), size, out=np.zeros_like(size), where=size != 0)
    return 200 * share


def scaled_error(b: Batch) -> np.ndarray:
    """|y - f| over the seasonal scale (Hyndman & Koehler 2006)."""
    return np.abs(b.error) / b.of_series(b.scales.absolute)


def scaled_squared_error(b: Batch) -> np.ndarray:
    """(y - f)² over the squared seasonal scale (M5)."""
    return np.square(b.error) / b.of_series(b.scales.squared)


def standardised_error(b: Batch) -> np.ndarray:
    """|y - f| in units of the training span's standard deviation (the z-space of the ETT benchmark)."""
    return np.abs(b.error) / b.of_series(b.scales.spread)


def standardised_squared_error(b: Batch) -> np.ndarray:
    """((y - f) / spread)²; see :func:`standardised_error`."""
    return np.square(b.error / b.of_series(b.scales.spread))


def pinball(level: float) -> Statistic:
    """The quantile loss max(q (y - f_q), (q - 1) (y - f_q)) at a level of the grid (Koenker & Bassett 1978)."""
    column = QUANTILES.index(level)

    def statistic(b: Batch) -> np.ndarray:
        deviation = b.y - b.values[..., column]
        return np.maximum(level * deviation, (level - 1) * deviation)

    return statistic


_PINBALLS = [pinball(level) for level in DECILES]


def decile_loss(b: Batch) -> np.ndarray:
    """Twice the quantile loss, mean over the nine deciles: what WQL sums (GIFT-Eval, fev)."""
    total = _PINBALLS[0](b)
    for loss in _PINBALLS[1:]:
        total += loss(b)
    return 2 * total / len(_PINBALLS)


def covered(interval: str) -> Statistic:
    """1 where the target lies inside a central interval, else 0."""

    def statistic(b: Batch) -> np.ndarray:
        low, high = b.bounds(interval)
        return np.where(b.known, (b.y >= low) & (b.y <= high), np.nan)

    return statistic


def interval_width(interval: str) -> Statistic:
    """Upper - lower bound of a central interval."""

    def statistic(b: Batch) -> np.ndarray:
        low, high = b.bounds(interval)
        return np.where(b.known, high - low, np.nan)

    return statistic


def interval_score(interval: str) -> Statistic:
    """Width of a central interval + 2/α times what lies outside of it (Gneiting & Raftery 2007)."""
    alpha = 1 - int(interval) / 100

    def statistic(b: Batch) -> np.ndarray:
        low, high = b.bounds(interval)
        outside = np.maximum(low - b.y, 0) + np.maximum(b.y - high, 0)
        return high - low + 2 / alpha * outside

    return statistic


_SCORE_95 = interval_score("95")


def scaled_interval_score(b: Batch) -> np.ndarray:
    """The 95 % interval's score over the seasonal scale (M4, Makridakis et al. 2020)."""
    return _SCORE_95(b) / b.of_series(b.scales.absolute)
