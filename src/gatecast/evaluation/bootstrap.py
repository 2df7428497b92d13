"""Two forecasts of the same windows, compared: is one better by more than luck?

    a, b = Cells.of_backtest(backtest, "mase"), Cells.of_backtest(backtest, "mase")
    backtest.run(challenger, a)
    backtest.run(champion, b)
    gains(a, b)                          # how much better, in resamples of series and origins

Errors of one series resemble each other, and so do errors of one time. Resamples therefore draw whole series and,
independently, whole blocks of origins, and give each cell the product of both counts: the pigeonhole bootstrap (Owen
2007), which errs on the side of caution. Origins whose targets overlap are one block (Carlstein 1986).

Axes: S series, C blocks of origins, B resamples.
"""

from __future__ import annotations

import numpy as np

from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.metrics import METRICS, Batch
from gatecast.evaluation.metrics.aggregations import Aggregation, Sums, mean_of_values, ratio

DRAWS = 1000
_AT_ONCE = 1 << 20  # weights in memory at a time


class Cells:
    """Sums of a metric's statistic over the windows of each (series, block of origins), accumulated over batches.

    Args:
        metric: its name, one of :data:`gatecast.evaluation.metrics.METRICS`; ``brier`` where outcomes are events.
        aggregation: how it is aggregated.
        sums: (S, C).
        cell: (n,) of each window of the backtest, its position among the S·C cells.
    """

    def __init__(
        self, metric: str, aggregation: Aggregation, sums: Sums, cell: np.ndarray | None = None
    ) -> None:
        self.metric = metric
        self.aggregation = aggregation
        self.sums = sums
        self._cell = np.empty(0, np.int64) if cell is None else cell

    @classmethod
    def of_backtest(cls, backtest: Backtest, metric: str) -> Cells:
        """Empty cells that observe a run; rows are the backtest's series, ascending."""
        return cls._empty(backtest.panel, backtest.windows, metric, METRICS[metric].aggregation)

    @classmethod
    def of_events(cls, panel: Panel, windows: Windows, error: np.ndarray) -> Cells:
        """The Brier score of events.

        Args:
            panel, windows: that were forecast.
            error: (n,) squared error of each window's probability, NaN where the outcome is unknown.
        """
        cells = cls._empty(panel, windows, "brier", mean_of_values)
        cells._add(slice(None), error[:, None], np.zeros((len(error), 1)))
        return cells

    @classmethod
    def _empty(cls, panel: Panel, windows: Windows, metric: str, aggregation: Aggregation) -> Cells:
        labels, row = np.unique(windows.series, return_inverse=True)
        column = blocks(panel, windows)
        shape = len(labels), int(column.max()) + 1
        return cls(metric, aggregation, Sums.zeros(*shape), row * shape[1] + column)

    def add(self, batch: Batch) -> None:
        """Add the windows of a batch."""
        statistic = METRICS[self.metric].statistic(batch)
        self._add(batch.rows, statistic, np.where(batch.known, batch.size, 0.0))

    def _add(self, rows: slice, statistic: np.ndarray, size: np.ndarray) -> None:
        cell = self._cell[rows]
        known = ~np.isnan(statistic)
        values = np.where(known, statistic, 0.0)
        for sums, each in (
            (self.sums.total, values.sum(1)),
            (self.sums.count, known.sum(1)),
            (self.sums.size, size.sum(1)),
        ):
            np.add.at(sums.reshape(-1), cell, each)

    def score(self, series: np.ndarray, origins: np.ndarray | None = None) -> np.ndarray:
        """The metric under weights.

        Args:
            series: (S, B) how often each series counts.
            origins: (C, B) how often each block of origins counts; None: each as it is.

        Returns:
            (B,); NaN where nothing that counts has a score.
        """
        weights = np.ones((self.sums.total.shape[1], 1)) if origins is None else origins
        numerator, denominator = self.aggregation(self.sums @ weights)  # (S, B)
        return ratio((series * numerator).sum(0), (series * denominator).sum(0))


def blocks(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) block of each window, from 0: a horizon of the common clock, or of the steps before each series' end."""
    if panel.meta.splits["by"] == "series_end":
        time = windows.origin - panel.history[windows.series]
    else:
        time = windows.origin + panel.position[windows.series]
    block = (time - time.min()) // panel.meta.horizon
    return np.unique(block, return_inverse=True)[1]


def matured(panel: Panel, windows: Windows, known: np.ndarray) -> float:
    """Origins that do not overlap and whose outcome is known; one with half of it known counts half.

    Args:
        panel, windows: that are forecast.
        known: (n,) share of each window's outcomes that is known.
    """
    column = blocks(panel, windows)
    cell = windows.series * (column.max() + 1) + column
    share = np.bincount(np.unique(cell, return_inverse=True)[1], known)
    return float(np.minimum(share, 1).sum())


def gain(score: np.ndarray | float, reference: np.ndarray | float) -> np.ndarray:
    """1 - score / reference; 0 where both are without any error, -inf where only the reference is."""
    score, reference = np.asarray(score, np.float64), np.asarray(reference, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - np.where(score == reference, 1.0, score / reference)


def gains(challenger: Cells, champion: Cells, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """(draws,) the challenger's gain over the champion in paired resamples, ascending; without those that have none."""
    n, m = challenger.sums.total.shape
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // (n + m))
    drawn = []
    for begin in range(0, draws, at_once):
        size = min(at_once, draws - begin)
        series = random.multinomial(n, np.full(n, 1 / n), size).T  # (S, B)
        origins = random.multinomial(m, np.full(m, 1 / m), size).T  # (C, B)
        drawn.append(gain(challenger.score(series, origins), champion.score(series, origins)))
    found = np.sort(np.concatenate(drawn))
    return found[~np.isnan(found)]
