"""Scores of a forecast, accumulated over batches of windows: memory grows with series and steps, not with windows.

Axes: S series, s series of a batch, n windows of a batch, H steps, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.evaluation.metrics.aggregations import Aggregation, Sums, ratio
from gatecast.evaluation.metrics.registry import METRICS, Metric
from gatecast.evaluation.metrics.scales import Scales
from gatecast.evaluation.metrics.statistics import Batch


class Scores:
    """The scores of one predictor.

    Args:
        series: (…) numbers of the series that batches will hold, in any order, repeats allowed.
        horizon: H.
        metrics: by name.
    """

    def __init__(
        self, series: np.ndarray, horizon: int, metrics: Mapping[str, Metric] = METRICS
    ) -> None:
        self.labels = np.unique(series)
        self.horizon = horizon
        self.metrics = metrics
        # |y| and the number of known values of each series
        self.size = np.zeros(len(self.labels))
        self.values = np.zeros(len(self.labels))
        self._total = {name: np.zeros(len(self.labels)) for name in metrics}
        self._count = {name: np.zeros(len(self.labels)) for name in metrics}
        self._steps = {
            name: _BySteps(metric.aggregation, horizon)
            for name, metric in metrics.items()
            if metric.by_step
        }
        self._at_or_below = np.zeros(len(QUANTILES))
        self._last = -1

    def add(self, batch: Batch) -> None:
        """Add a batch. Windows come in the order of their series, within batches and from batch to batch."""
        row = np.searchsorted(self.labels, batch.windows.series)
        start = np.flatnonzero(np.diff(row, prepend=-1))
        which = row[start]
        in_order = which[0] >= self._last and np.all(np.diff(which) > 0)
        assert in_order, "windows are not in the order of their series"
        self._last = int(which[-1])

        def by_series(values: np.ndarray) -> np.ndarray:
            return np.add.reduceat(values, start, axis=0, dtype=np.float64)  # (s, H)

        size = by_series(np.where(batch.known, batch.size, 0.0))
        self.size[which] += size.sum(1)
        every = by_series(batch.known)
        self.values[which] += every.sum(1)
        for name, metric in self.metrics.items():
            statistic = metric.statistic(batch)  # (n, H)
            known = ~np.isnan(statistic)
            # where every series has a scale, what is known is known to all statistics
            count = every if np.array_equal(known, batch.known) else by_series(known)
            sums = Sums(by_series(np.where(known, statistic, 0.0)), count, size)
            self._total[name][which] += sums.total.sum(1)
            self._count[name][which] += sums.count.sum(1)
            if name in self._steps:
                self._steps[name].add(which, sums)
        for level in range(len(QUANTILES)):
            below = batch.known & (batch.y <= batch.values[..., level])
            self._at_or_below[level] += below.sum()

    def sums(self, name: str) -> Sums:
        """(S,) sums of a metric's statistic."""
        return Sums(self._total[name], self._count[name], self.size)

    def pooled(self, members: np.ndarray | None = None) -> dict[str, float]:
        """Every score over all series, with ``series``, ``series_with_scale`` and ``values``: how many there are.

        Args:
            members: (S,) bool, the series that count; None: all of them.
        """
        which = np.ones(len(self.labels), bool) if members is None else members
        found: dict[str, float] = {}
        for name, metric in self.metrics.items():
            numerator, denominator = metric.aggregation(self.sums(name)[which])
            found[name] = float(ratio(numerator.sum(), denominator.sum()))
        found["series"] = int(which.sum())
        if "mase" in self.metrics:
            found["series_with_scale"] = int((self._count["mase"][which] > 0).sum())
        found["values"] = int(self.values[which].sum())
        return found

    def series(self) -> pd.DataFrame:
        """One row per series: every score, ``sum_y`` (sum of |y|) and ``n`` (known values); NaN where there is none.

        Returns:
            Indexed by the number of the series.
        """
        columns = {
            name: ratio(*metric.aggregation(self.sums(name)))
            for name, metric in self.metrics.items()
        }
        columns |= {"sum_y": self.size, "n": self.values.astype(np.int64)}
        return pd.DataFrame(columns, index=pd.Index(self.labels, name="series"))

    def steps(self) -> pd.DataFrame:
        """One row per step: ``step`` (from 1) and the scores that are kept by step."""
        columns = {name: steps.scores() for name, steps in self._steps.items()}
        return pd.DataFrame({"step": np.arange(1, self.horizon + 1), **columns})

    def calibration(self) -> np.ndarray:
        """(Q,) share of the targets at or below each forecast quantile."""
        return ratio(self._at_or_below, np.full(len(QUANTILES), self.values.sum()))


class _BySteps:
    """A metric by step. The last series of a batch stays open, for its next windows may come in the next batch."""

    def __init__(self, aggregation: Aggregation, horizon: int) -> None:
        self.aggregation = aggregation
        self._numerator = np.zeros(horizon)
        self._denominator = np.zeros(horizon)
        self._open = Sums.zeros(1, horizon)
        self._series = -1

    def add(self, series: np.ndarray, sums: Sums) -> None:
        """Add (s, H) sums of s series."""
        first = sums[[0]]
        if series[0] == self._series:
            first = first + self._open
        else:
            self._close(self._open)
        if len(series) > 1:
            self._close(first)
            self._close(sums[1:-1])
            first = sums[[-1]]
        self._open = first
        self._series = int(series[-1])

    def _close(self, sums: Sums) -> None:
        numerator, denominator = self.aggregation(sums)
        self._numerator += numerator.sum(0)
        self._denominator += denominator.sum(0)

    def scores(self) -> np.ndarray:
        """(H,) of everything added so far."""
        numerator, denominator = self.aggregation(self._open)
        return ratio(self._numerator + numerator[0], self._denominator + denominator[0])


def score(y: np.ndarray, forecast: QuantileForecast, scales: Scales) -> Scores:
    """Scores of forecasts that are at hand as a whole.

    Args:
        y: (n, H) targets, NaN where unknown.
        forecast: of the same n windows, in any order.
        scales: of all series of the panel.
    """
    order = np.argsort(forecast.windows.series, kind="stable")
    windows = forecast.windows[order]
    scores = Scores(windows.series, y.shape[1])
    scores.add(Batch(windows, y[order].astype(np.float64), forecast.values[order], scales))
    return scores
