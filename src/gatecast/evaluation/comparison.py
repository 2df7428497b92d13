"""Two forecasts of the same windows, compared: is one better by more than luck, and is it worse anywhere?

    a, b = (Cells.of(backtest, result.forecast, "mase") for result in (challenger, champion))
    gains(a, b)                          # how much better, in resamples of series and origins
    segments(backtest, a, b, least=10)   # and in parts of the panel

Errors of one series resemble each other, and so do errors of one time. Resamples therefore draw whole series and,
independently, whole blocks of origins, and give each cell the product of both counts: the pigeonhole bootstrap (Owen
2007), which errs on the side of caution. Origins whose targets overlap are one block (Carlstein 1986).

Axes: S series, C blocks of origins, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatecast.core.forecast import QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.evaluation import metrics
from gatecast.evaluation.backtest import Backtest

DRAWS = 1000
_AT_ONCE = 1 << 20  # weights in memory at a time
_STATISTIC = {
    "mase": "mase",
    "smape": "smape",
    "rmsse": "msse",
    "wape": "abs",
    "wql": "pinball",
}
_OF_SIZE = ("wape", "wql", "brier")  # one sum over another; the others are means over series


@dataclass(frozen=True)
class Cells:
    """Sums of a metric over the windows of each (series, block of origins).

    Attributes:
        metric: its name.
        error: (S, C) sums of its statistic.
        size: (S, C) sums of |y|, or counts of values where the metric is a mean of them.
    """

    metric: str
    error: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, backtest: Backtest, forecast: QuantileForecast, metric: str) -> Cells:
        """Add up the windows of a backtest; rows are its series, ascending."""
        stats = metrics.statistics(backtest.targets, forecast, backtest.scales)
        found = stats[_STATISTIC[metric]] * (2 if metric == "wql" else 1)
        size = stats["y"] if metric in _OF_SIZE else (~np.isnan(found)).astype(np.float64)
        return cls._sums(metric, backtest.panel, backtest.windows, found, size)

    @classmethod
    def of_events(cls, panel: Panel, windows: Windows, p: np.ndarray, label: np.ndarray) -> Cells:
        """Add up the Brier score of events.

        Args:
            panel, windows: that were forecast.
            p: (n,) probabilities.
            label: (n,) 1, 0, or NaN where that is not known.
        """
        found = np.square(p - label)[:, None]
        return cls._sums("brier", panel, windows, found, (~np.isnan(found)).astype(np.float64))

    @classmethod
    def _sums(
        cls, metric: str, panel: Panel, windows: Windows, error: np.ndarray, size: np.ndarray
    ) -> Cells:
        """Cells of (n, H) statistics and what they are divided by, a row a window."""
        labels, row = np.unique(windows.series, return_inverse=True)
        column = blocks(panel, windows)
        shape = len(labels), int(column.max()) + 1
        cell = row * shape[1] + column
        total = lambda values: np.bincount(  # noqa: E731
            cell, np.nansum(values, 1), shape[0] * shape[1]
        ).reshape(shape)
        return cls(metric, total(error), total(size))

    def score(self, series: np.ndarray, origins: np.ndarray | None = None) -> np.ndarray:
        """The metric under weights.

        Args:
            series: (S, B) how often each series counts.
            origins: (C, B) how often each block of origins counts; None: once.

        Returns:
            (B,); NaN where nothing that counts has a score.
        """
        many = np.ones((self.error.shape[1], 1)) if origins is None else origins
        error, size = self.error @ many, self.size @ many  # (S, B)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.metric in _OF_SIZE:
                return (series * error).sum(0) / (series * size).sum(0)
            each = error / size
            each = np.sqrt(each) if self.metric == "rmsse" else each
            counts = series * ~np.isnan(each)
            return (counts * np.nan_to_num(each)).sum(0) / counts.sum(0)


def blocks(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) block of each window, from 0: a horizon of the common clock, or of the steps before each series' end."""
    if panel.meta.splits["by"] == "series_end":
        place = windows.origin - panel.history[windows.series]
    else:
        place = windows.origin + panel.position[windows.series]
    block = (place - place.min()) // panel.meta.horizon
    return np.unique(block, return_inverse=True)[1]


def matured(panel: Panel, windows: Windows, known: np.ndarray) -> float:
    """Origins that do not overlap and whose outcome is known; one with half of it known counts half.

    Args:
        panel, windows: that are forecast.
        known: (n, k) bool, which of the k outcomes of each window are known.
    """
    column = blocks(panel, windows)
    cell = windows.series * (column.max() + 1) + column
    share = np.bincount(np.unique(cell, return_inverse=True)[1], known.mean(1))
    return float(np.minimum(share, 1).sum())


def gain(score: np.ndarray | float, reference: np.ndarray | float) -> np.ndarray:
    """1 - score / reference; 0 where both are without any error, -inf where only the reference is."""
    score, reference = np.asarray(score, np.float64), np.asarray(reference, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - np.where(score == reference, 1.0, score / reference)


def gains(challenger: Cells, champion: Cells, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """(draws,) the challenger's gain over the champion in paired resamples, ascending; without those that have none."""
    n, m = challenger.error.shape
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // (n + m))
    found = []
    for begin in range(0, draws, at_once):
        size = min(at_once, draws - begin)
        series = random.multinomial(n, np.full(n, 1 / n), size).T  # (S, B)
        origins = random.multinomial(m, np.full(m, 1 / m), size).T  # (C, B)
        found.append(gain(challenger.score(series, origins), champion.score(series, origins)))
    drawn = np.sort(np.concatenate(found))
    return drawn[~np.isnan(drawn)]


@dataclass(frozen=True)
class Segment:
    """Both scores on a part of the panel: a value of a static column, or a third of the series by volume."""

    name: str
    series: int
    challenger: float
    champion: float


def segments(
    backtest: Backtest, challenger: Cells, champion: Cells, least: int = 1
) -> list[Segment]:
    """Scores by segment; without segments of fewer than ``least`` series, and those that have no score."""
    found = []
    for name, members in parts(backtest, least):
        weights = members[:, None].astype(np.float64)
        a, b = (float(cells.score(weights)[0]) for cells in (challenger, champion))
        if not (np.isnan(a) or np.isnan(b)):
            found.append(Segment(name, int(members.sum()), a, b))
    return found


def parts(backtest: Backtest, least: int) -> list[tuple[str, np.ndarray]]:
    """Name and (S,) members of every segment of at least so many series.

    Segments are the values of every static column and, of three series and more, the thirds by volume.
    """
    panel = backtest.panel
    labels, row = np.unique(backtest.windows.series, return_inverse=True)
    found = []
    for column in panel.meta.static:
        codes = panel.series[column.name].to_numpy()[labels]
        values, counts = np.unique(codes, return_counts=True)
        for value in values[(counts >= least) & ~np.isnan(values)]:
            names = column.categories
            word = f"{value:g}" if names is None else ["(none)", *names][int(value)]
            found.append((f"{column.name} {word}", codes == value))
    if len(labels) < 3:
        return found
    sizes = np.abs(backtest.targets)
    known = np.bincount(row, (~np.isnan(sizes)).sum(1))
    volume = np.bincount(row, np.nansum(sizes, 1)) / known
    third = np.empty(len(labels), np.int64)
    third[np.argsort(volume, kind="stable")] = np.arange(len(labels)) * 3 // len(labels)
    thirds = [(f"volume {word}", third == k) for k, word in enumerate(("low", "middle", "high"))]
    return found + [part for part in thirds if part[1].sum() >= least]
