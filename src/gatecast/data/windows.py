"""Windows: pairs of integers (series, origin), and the gather that cuts them out of the panel.

    series i:   |--- history ---|--- horizon ---|
                0            origin       origin + h

``origin`` counts the rows of the series that lie before the first forecast step. Windows are never
materialised: a batch is one vectorised gather from the flat buffer, on the device where it lives. Nothing else is as
long as the buffer: beside it, a panel of a million series needs a few numbers per series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from gatecast.data.panel import Panel

# Rows or windows of one block: bounds the memory, costs nothing.
_BLOCK = 1 << 17
# Rows of each window of one pass in search of a known one.
_PASSES = 1, 8, 64


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


def rolling_origins(
    panel: Panel, span: str, stride: int | None = None, most: int | None = None
) -> Windows:
    """Rolling origins of a span, every ``stride`` rows, whose targets lie in the span and are not all unknown.

    Args:
        panel: the data set.
        span: ``validation`` or ``test``.
        stride: rows between two origins; None: the panel's own.
        most: thin them evenly to at most this many; None: all of them.

    Returns:
        Windows sorted by series, then origin. Series that had no value yet, or have none left, have none.
    """
    blocks = partial(_origin_blocks, panel, span, stride or panel.meta.stride)
    every = 1 if most is None else max(1, -(-sum(map(len, blocks())) // most))
    series, origin = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    first = 0
    for block in blocks():
        series.append(block.series[first::every])
        origin.append(block.origin[first::every])
        first = (first - len(block)) % every
    return Windows(np.concatenate(series), np.concatenate(origin))


def _origin_blocks(panel: Panel, span: str, step: int) -> Iterator[Windows]:
    """The origins of :func:`rolling_origins`, a block at a time."""
    train_end, validation_end, test_end = panel.split_points
    begin, end = (train_end, validation_end) if span == "validation" else (validation_end, test_end)
    # one set of cutoffs for all series: one that ends early is masked, not moved
    if panel.meta.splits["by"] == "time":
        begin, end = (cut - panel.position for cut in _span_on_axis(panel, span))
    count = np.maximum((end - panel.meta.horizon - begin) // step + 1, 0)
    total = np.cumsum(count)
    for low in range(0, int(count.sum()), _BLOCK):
        number = np.arange(low, min(low + _BLOCK, total[-1]))
        series = np.searchsorted(total, number, side="right")
        origin = begin[series] + (number - total[series] + count[series]) * step
        windows = Windows(series, origin)
        windows = windows[windows.origin >= 1]
        yield windows[observed_between(panel, windows, 0, panel.meta.horizon)]


def _span_on_axis(panel: Panel, span: str) -> tuple[int, int]:
    splits = panel.meta.splits
    train_end, validation_end = panel.axis.get_indexer(
        pd.DatetimeIndex([splits["train_end"], splits["validation_end"]])
    )
    return (train_end, validation_end) if span == "validation" else (validation_end, panel.last)


def latest(panel: Panel) -> Windows:
    """One window per series: from its last value."""
    return Windows(np.arange(panel.n_series), panel.history.copy())


def observed_between(panel: Panel, windows: Windows, low: int, high: int) -> np.ndarray:
    """(n,) bool: whether any target is known in rows [origin + low, origin + high) of the series."""
    begin, end = panel.indptr[windows.series], panel.indptr[windows.series + 1]
    a, b = (np.clip(begin + windows.origin + k, begin, end) for k in (low, high))
    return next_known(panel.observed, a, b) < b


def next_known(observed: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Rows of the buffer of the first known target in each [low, high).

    Most lie at the start of the search or nearby: one narrow pass over all of them, wider passes over those still open,
    then a search of its own for the few that lie in a long gap.

    Args:
        observed: (T,) bool, whether the target is known.
        low, high: (n,) int64 rows of the buffer, low <= high.

    Returns:
        (n,) int64; ``high`` where none is known.
    """
    at, still_open = low.copy(), np.arange(len(low))
    for width in _PASSES:
        left = [still_open[:0]]
        for part in np.array_split(still_open, 1 + len(still_open) * width // _BLOCK):
            rows = at[part, None] + np.arange(width)  # (p, width)
            ends = (rows >= high[part, None]) | observed[rows.clip(max=len(observed) - 1)]
            found = ends.any(1)
            at[part] += np.where(found, ends.argmax(1), width)
            left.append(part[~found])
        still_open = np.concatenate(left)
    for k in still_open:
        gap = observed[at[k] : high[k]]
        at[k] = at[k] + gap.argmax() if gap.any() else high[k]
    return at


def last_known(observed: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Rows of the buffer of the last known target in each [low, high); ``low - 1`` where none is known."""
    length = len(observed)
    return length - 1 - next_known(observed[::-1], length - high, length - low)


def training_rows(panel: Panel) -> Iterator[tuple[slice, np.ndarray]]:
    """The whole buffer in blocks of rows, each with (rows,) bool: which lie before their series' training end."""
    begin, end = panel.indptr[:-1], panel.indptr[1:]
    train_end, _, _ = panel.split_points
    for low in range(0, len(panel.values), _BLOCK):
        high = min(low + _BLOCK, len(panel.values))
        its = slice(np.searchsorted(end, low, side="right"), np.searchsorted(begin, high))
        cuts = np.stack([begin[its], begin[its] + train_end[its], end[its]], 1).clip(low, high)
        training = np.tile([True, False], len(cuts))
        yield slice(low, high), np.repeat(training, np.diff(cuts).ravel())
