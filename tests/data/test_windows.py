"""Window arithmetic against a loop over the observations that never sees the panel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gatecast.data import windows
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows

ABSENT = "absent"  # no row; None is a row with an empty value
Cell = float | str | None


@dataclass
class Observed:
    """What was observed, as dictionaries {step of the time axis: value}; a value may be NaN."""

    series: list[dict[int, float]]
    feed: Feed

    @property
    def first(self) -> list[int]:
        return [min(s for s, v in rows.items() if v == v) for rows in self.series]

    @property
    def last(self) -> list[int]:
        return [max(s for s, v in rows.items() if v == v) for rows in self.series]

    @property
    def end(self) -> int:
        """Step after the last value of any series."""
        return max(self.last) + 1

    def at(self, i: int, step: int) -> float:
        """The value of series i, NaN where unknown or before it began."""
        return self.series[i].get(step, math.nan) if step >= self.first[i] else math.nan

    def panel(self) -> Panel:
        rows = [
            (f"s{i}", pd.Timestamp("2024-01-01") + pd.Timedelta(hours=step), value)
            for i, series in enumerate(self.series)
            for step, value in sorted(series.items())
        ]
        table = pd.DataFrame(rows, columns=["unique_id", "ds", "y"]).astype({"unique_id": "str"})
        table["ds"] = table["ds"].astype("datetime64[us]")
        static = pd.DataFrame({"unique_id": table["unique_id"].unique()})
        return build_panel(table, static, self.feed, feasible=False)


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """One to four short series that begin and end anywhere, with gaps, empty values and rows ahead."""
    series: list[dict[int, float]] = []
    cell = st.one_of(st.just(ABSENT), st.none(), st.integers(-9, 9).map(float))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, 6))
        cells: list[Cell] = [*draw(st.lists(cell, max_size=14)), draw(st.integers(1, 9).map(float))]
        cells += [None] * draw(st.integers(0, 2))
        rows = {begin + k: c for k, c in enumerate(cells) if c != ABSENT}
        series.append({k: math.nan if c is None else float(c) for k, c in rows.items()})
    base = min(min(rows) for rows in series)
    series = [{k - base: v for k, v in rows.items()} for rows in series]
    assume(max(max(rows) for rows in series) > 0)  # test_panel.py has the axis of one stamp
    task = Task(
        horizon=draw(st.integers(1, 4)),
        season_length=1,
        stride=draw(st.integers(1, 3)),
        splits=Splits(
            by=draw(st.sampled_from(["time", "series_end"])),
            validation=draw(st.integers(1, 6)),
            test=draw(st.integers(1, 6)),
        ),
    )
    return Observed(series, Feed(name="t", frequency="h", task=task))


def all_windows(seen: Observed) -> Iterator[tuple[int, int]]:
    """Every (series, origin) from the first value to the last."""
    for i, (first, last) in enumerate(zip(seen.first, seen.last, strict=True)):
        yield from ((i, origin) for origin in range(last - first + 2))


def as_windows(pairs: list[tuple[int, int]]) -> Windows:
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return Windows(both[:, 0], both[:, 1])


def naive_spans(seen: Observed, i: int) -> dict[str, tuple[int, int]]:
    """Steps of the time axis between which the targets of each span must lie."""
    splits = seen.feed.task.splits
    if splits.by == "time":
        begin, end = 0, seen.end
        validation_end = max(end - int(splits.test), 1)
    else:
        begin, end = seen.first[i], seen.last[i] + 1
        validation_end = max(end - int(splits.test), begin)
    train_end = max(validation_end - int(splits.validation), begin)
    return {"validation": (train_end, validation_end), "test": (validation_end, end)}


def naive_origins(seen: Observed, span: str, stride: int) -> list[tuple[int, int]]:
    horizon = seen.feed.task.horizon
    out = []
    for i in range(len(seen.series)):
        cutoff, end = naive_spans(seen, i)[span]
        while cutoff + horizon <= end:
            known = any(seen.at(i, cutoff + k) == seen.at(i, cutoff + k) for k in range(horizon))
            if cutoff > seen.first[i] and known:
                out.append((i, cutoff - seen.first[i]))
            cutoff += stride
    return out


FEW = settings(max_examples=50, deadline=None)


@FEW
@given(seen=observations(), length=st.integers(1, 8))
def test_history_is_what_was_known_before_each_origin(seen: Observed, length: int) -> None:
    pairs = list(all_windows(seen))
    got = windows.history(seen.panel(), as_windows(pairs), length)
    expected = [
        [seen.at(i, seen.first[i] + origin + k) for k in range(-length, 0)] for i, origin in pairs
    ]
    assert np.array_equal(got, expected, equal_nan=True)


@FEW
@given(seen=observations())
def test_targets_are_what_happened_after_each_origin(seen: Observed) -> None:
    pairs = list(all_windows(seen))
    got = windows.targets(seen.panel(), as_windows(pairs))
    horizon = seen.feed.task.horizon
    expected = [
        [seen.at(i, seen.first[i] + origin + k) for k in range(horizon)] for i, origin in pairs
    ]
    assert np.array_equal(got, expected, equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(seen=observations(), span=st.sampled_from(["validation", "test"]))
def test_rolling_origins_are_those_of_a_loop_over_the_series(seen: Observed, span: str) -> None:
    got = windows.rolling_origins(seen.panel(), span)
    expected = naive_origins(seen, span, seen.feed.task.stride or seen.feed.task.horizon)
    assert list(zip(got.series.tolist(), got.origin.tolist(), strict=True)) == expected


@settings(max_examples=25, deadline=None)
@given(seen=observations(), stride=st.integers(1, 5))
def test_a_stride_may_be_given(seen: Observed, stride: int) -> None:
    got = windows.rolling_origins(seen.panel(), "test", stride)
    expected = naive_origins(seen, "test", stride)
    assert list(zip(got.series.tolist(), got.origin.tolist(), strict=True)) == expected


@FEW
@given(seen=observations(), low=st.integers(-4, 2), width=st.integers(0, 5))
def test_observed_between_says_whether_any_target_is_known(
    seen: Observed, low: int, width: int
) -> None:
    pairs = list(all_windows(seen))
    got = windows.observed_between(seen.panel(), as_windows(pairs), low, low + width)
    expected = [
        any(
            seen.at(i, seen.first[i] + origin + k) == seen.at(i, seen.first[i] + origin + k)
            for k in range(low, low + width)
        )
        for i, origin in pairs
    ]
    assert got.tolist() == expected


@st.composite
def spans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A buffer with gaps of all lengths, and spans of it, empty ones too."""
    runs = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 90)), min_size=1, max_size=8))
    observed = np.repeat(*(np.array(column) for column in zip(*runs, strict=True)))
    bound = st.integers(0, len(observed))
    pairs = draw(st.lists(st.tuples(bound, bound).map(sorted), max_size=20))
    low, high = np.array(pairs, np.int64).reshape(-1, 2).T
    return observed, low, high


@pytest.mark.parametrize("block", [1, 7, 1 << 17])
@settings(max_examples=100, deadline=None)
@given(span=spans())
def test_the_next_and_the_last_known_row_are_those_of_a_loop(
    block: int, span: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """However many rows are looked at together; the end of the span where it holds no known row."""
    observed, low, high = span
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_BLOCK", block)
        following = windows.next_known(observed, low, high)
        last = windows.last_known(observed, low, high)
    for k, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        known = [row for row in range(a, b) if observed[row]]
        assert following[k] == (known[0] if known else b)
        assert last[k] == (known[-1] if known else a - 1)


@pytest.mark.parametrize("block", [1, 5, 1 << 17])
@settings(max_examples=25, deadline=None)
@given(seen=observations())
def test_blocks_of_training_rows_cover_the_buffer_once(block: int, seen: Observed) -> None:
    panel = seen.panel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_BLOCK", block)
        blocks = list(windows.training_rows(panel))
    row = np.arange(len(panel.values)) - np.repeat(panel.indptr[:-1], panel.lengths)
    whole = row < np.repeat(panel.split_points[0], panel.lengths)
    assert np.concatenate([np.arange(len(whole))[rows] for rows, _ in blocks]).tolist() == list(
        range(len(whole))
    )
    assert np.array_equal(np.concatenate([training for _, training in blocks]), whole)


@pytest.mark.parametrize("block", [1, 3])
@settings(max_examples=50, deadline=None)
@given(seen=observations(), most=st.integers(1, 9))
def test_thinned_origins_are_every_kth_of_all_of_them(
    block: int, seen: Observed, most: int
) -> None:
    panel = seen.panel()
    whole = windows.rolling_origins(panel, "test", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_BLOCK", block)
        thin = windows.rolling_origins(panel, "test", 1, most)
    expected = whole[:: max(1, -(-len(whole) // most))]
    assert len(thin) <= most
    assert thin.series.tolist() == expected.series.tolist()
    assert thin.origin.tolist() == expected.origin.tolist()


@FEW
@given(seen=observations())
def test_training_origins_never_reach_the_validation_span_with_their_first_target(
    seen: Observed,
) -> None:
    low, high = windows.training_range(seen.panel())
    for i in range(len(seen.series)):
        train_end = naive_spans(seen, i)["validation"][0]
        last = seen.last[i] + 1
        expected = [step - seen.first[i] for step in range(seen.first[i] + 1, min(train_end, last))]
        assert list(range(low[i], high[i])) == expected


@FEW
@given(seen=observations())
def test_latest_is_one_window_a_series_from_its_last_value(seen: Observed) -> None:
    got = windows.latest(seen.panel())
    assert got.series.tolist() == list(range(len(seen.series)))
    assert got.origin.tolist() == [b - a + 1 for a, b in zip(seen.first, seen.last, strict=True)]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@FEW
@given(data=st.data())
def test_gather_cuts_the_same_windows_as_a_loop(kind: str, data: st.DataObject) -> None:
    total, channels = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 3))
    values = np.arange(total * channels, dtype=np.float32).reshape(total, channels)
    bound = st.integers(0, total)
    spec = st.tuples(st.integers(-5, total + 5), bound, bound)
    batch = data.draw(st.lists(spec, min_size=1, max_size=5))
    offsets = data.draw(st.lists(st.integers(-6, 6), min_size=1, max_size=6))
    start, low, high = (np.array(column, np.int64) for column in zip(*batch, strict=True))
    arrays = [values, start, np.array(offsets, np.int64), low, high]
    cut, inside = windows.gather(*(map(torch.from_numpy, arrays) if kind == "torch" else arrays))
    cut, inside = np.asarray(cut), np.asarray(inside)
    assert cut.shape == (len(batch), len(offsets), channels)
    for b, (begin, lo, hi) in enumerate(batch):
        for k, offset in enumerate(offsets):
            row = begin + offset
            assert inside[b, k] == (lo <= row < hi)
            if inside[b, k]:
                assert cut[b, k].tolist() == values[row].tolist()


def test_a_window_never_sees_the_series_beside_it() -> None:
    seen = Observed(
        [{0: 1.0, 1: 2.0, 2: 3.0}, {0: 7.0, 1: 8.0, 2: 9.0}],
        Feed(
            name="t",
            frequency="h",
            task=Task(horizon=2, season_length=1, splits=Splits(validation=1, test=1)),
        ),
    )
    panel = seen.panel()
    assert np.isnan(windows.targets(panel, as_windows([(0, 3)]))).all()
    assert np.isnan(windows.history(panel, as_windows([(1, 0)]), 3)).all()


def test_windows_are_indexed_together() -> None:
    whole = as_windows([(0, 3), (1, 4), (2, 5)])
    part = whole[np.array([True, False, True])]
    assert (part.series.tolist(), part.origin.tolist()) == ([0, 2], [3, 5])
    assert (len(whole), len(part)) == (3, 2)
