"""In-sample scales of every series: what errors are divided by to compare series of different size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gatecast.data.panel import Panel

_ROWS = 1 << 20  # of the panel, measured together: bounds the memory


@dataclass(frozen=True)
class Scales:
    """In-sample scales of every series, (n_series,) each; NaN where there is none.

    Attributes:
        absolute: mean |y_t - y_(t-m)| before the test span (Hyndman & Koehler 2006).
        squared: mean (y_t - y_(t-m))² before the test span (M5).
        spread: standard deviation of the training span (the z-space of the ETT benchmark).
    """

    absolute: np.ndarray
    squared: np.ndarray
    spread: np.ndarray


def scales(panel: Panel, end: np.ndarray | None = None) -> Scales:
    """Measure the scales of every series, some series at a time.

    Args:
        panel: the data set.
        end: (n_series,) row of each series at which the in-sample part ends; None: where the test span begins.
    """
    train_end, validation_end, _ = panel.split_points
    stop = validation_end if end is None else end
    found = np.empty((3, panel.n_series))
    for some in _consecutive(panel.indptr):
        rows = slice(int(panel.indptr[some.start]), int(panel.indptr[some.stop]))
        y = np.asarray(panel.values[rows, 0], np.float64)
        season = panel.meta.season_length
        found[:, some] = _measure(y, panel.lengths[some], train_end[some], stop[some], season)
    return Scales(*np.where(found > 0, found, np.nan))


def _consecutive(indptr: np.ndarray) -> Iterator[slice]:
    """Slices of consecutive series with at most so many rows together, or of one longer series."""
    low, n = 0, len(indptr) - 1
    while low < n:
        fitting = int(np.searchsorted(indptr, indptr[low] + _ROWS, side="right")) - 1
        high = max(low + 1, fitting)
        yield slice(low, high)
        low = high


def _measure(
    y: np.ndarray, lengths: np.ndarray, train_end: np.ndarray, stop: np.ndarray, m: int
) -> np.ndarray:
    """(3, s) scales of s series that lie end to end in ``y``."""
    n = len(lengths)
    series = np.repeat(np.arange(n), lengths)
    row = np.arange(len(y)) - (np.cumsum(lengths) - lengths)[series]

    def mean(values: np.ndarray, use: np.ndarray) -> np.ndarray:
        use = use & ~np.isnan(values)
        total = np.bincount(series[use], values[use], n)
        count = np.bincount(series[use], minlength=n)
        return np.divide(total, count, out=np.full(n, np.nan), where=count > 0)

    lagged = np.full(len(y), np.nan)
    lagged[m:] = y[m:] - y[:-m]
    in_sample = (row >= m) & (row < stop[series])
    training = row < train_end[series]
    centred = y - mean(y, training)[series]
    variance = mean(centred**2, training)
    return np.stack(
        [mean(np.abs(lagged), in_sample), mean(lagged**2, in_sample), np.sqrt(variance)]
    )
