"""Windows: pairs of integers (series, origin), and the gather that cuts them out of the panel.

    series i:   |--- history ---|--- horizon ---|
                0            origin       origin + h

``origin`` counts the rows of the series that lie before the first forecast step. Windows are never
materialised: a batch is one vectorised gather from the flat buffer, on the device where it lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gatecast.data.panel import Panel


@dataclass(frozen=True)
class Windows:
    """(n,) int64 ``series`` and (n,) int64 ``origin``."""

    series: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, which: Any) -> Windows:
        return Windows(self.series[which], self.origin[which])


def gather(values: Any, start: Any, offsets: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Cut windows out of a flat buffer without copying the buffer. Works on NumPy arrays and on tensors alike.

    Args:
        values: (T, …) every series of the panel, end to end.
        start: (B,) int64, row of the buffer that offset 0 of each window stands for.
        offsets: (L,) int64 offsets to cut.
        low, high: (B,) int64, rows of the buffer between which (half-open) a window may see.

    Returns:
        (B, L, …) values, and (B, L) bool: whether the row lay inside [low, high). Values outside are arbitrary.
    """
    rows = start[:, None] + offsets  # (B, L)
    inside = (rows >= low[:, None]) & (rows < high[:, None])
    return values[rows.clip(0, len(values) - 1)], inside


def history(panel: Panel, windows: Windows, length: int) -> np.ndarray:
    """(n, length) float32: the target before each origin, NaN where unknown or before the series began."""
    begin = panel.indptr[windows.series]
    start = begin + windows.origin
    cut, inside = gather(panel.values[:, 0], start, np.arange(-length, 0), begin, start)
    return np.where(inside, cut, np.nan)


def targets(panel: Panel, windows: Windows) -> np.ndarray:
    """(n, horizon) float32: what happened after each origin, NaN where unknown."""
    begin, end = panel.indptr[windows.series], panel.indptr[windows.series + 1]
    cut, inside = gather(
        panel.values[:, 0], begin + windows.origin, np.arange(panel.meta.horizon), begin, end
    )
    return np.where(inside, cut, np.nan)


def training_range(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """(n,), (n,) first and past-the-last origin of each series whose first target lies in the training span.

    Later targets may lie beyond the span: they are masked, the origin is not lost.
    """
    train_end, _, _ = panel.split_points
    return np.ones_like(train_end), np.maximum(train_end, 1)


def rolling_origins(panel: Panel, span: str, stride: int | None = None) -> Windows:
    """Rolling origins of a span, every ``stride`` rows, whose targets lie in the span and are not all unknown.

    Args:
        panel: the data set.
        span: ``validation`` or ``test``.
        stride: rows between two origins; None: the panel's own.

    Returns:
        Windows sorted by series, then origin. Series that had no value yet, or have none left, have none.
    """
    train_end, validation_end, test_end = panel.split_points
    begin, end = (train_end, validation_end) if span == "validation" else (validation_end, test_end)
    if (
        panel.meta.splits["by"] == "time"
    ):  # one set of cutoffs for all: a series that ends early is masked, not moved
        begin, end = (cut - panel.position for cut in _span_on_axis(panel, span))
    step = stride or panel.meta.stride
    count = np.maximum((end - panel.meta.horizon - begin) // step + 1, 0)
    series = np.repeat(np.arange(panel.n_series), count)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    origin = begin[series] + (np.arange(len(series)) - first[series]) * step
    windows = Windows(series, origin)
    return windows[(origin >= 1) & observed_between(panel, windows, 0, panel.meta.horizon)]


def _span_on_axis(panel: Panel, span: str) -> tuple[int, int]:
    splits = panel.meta.splits
    train_end, validation_end = panel.axis.get_indexer(
        pd.DatetimeIndex([splits["train_end"], splits["validation_end"]])
    )
    return (train_end, validation_end) if span == "validation" else (validation_end, panel.last)


def latest(panel: Panel) -> Windows:
    """One window a series: from its last value."""
    return Windows(np.arange(panel.n_series), panel.history.copy())


def observed_between(panel: Panel, windows: Windows, low: int, high: int) -> np.ndarray:
    """(n,) bool: whether any target is known in rows [origin + low, origin + high) of the series."""
    begin, end = panel.indptr[windows.series], panel.indptr[windows.series + 1]
    a, b = (np.clip(begin + windows.origin + k, begin, end) for k in (low, high))
    return panel.known_before[b] > panel.known_before[a]
