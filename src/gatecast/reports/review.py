"""What to look at in a published run: the series worth drawing, where it failed, and what moved since the run before.

One pass over the run's table and one over that of the run before, some series at a time: beside them there is one
number per (series, step), whatever the number of series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core.errors import PanelError, ScoringError
from gatecast.core.forecast import MODEL, PROBABILITY, Task
from gatecast.data.panel import Panel
from gatecast.evaluation.table import stamps_of
from gatecast.scoring import store
from gatecast.scoring.shards import shard_of
from gatecast.scoring.sinks import Sink
from gatecast.scoring.snapshots import SNAPSHOTS

BANDS = [f"{MODEL}-lo-95", f"{MODEL}-lo-80", MODEL, f"{MODEL}-hi-80", f"{MODEL}-hi-95"]
MIDDLE = BANDS.index(MODEL)
# Forecast by the model, by what stands in for it, not in the table.
FORECAST, FALLBACK, QUARANTINED = range(3)
CHOSEN, LARGEST, CHANGED = "chosen", "largest", "changed most"
_DRAWN = 6  # series of a kind that are drawn
_ROWS = 12  # of a grouping that are shown
_LISTED = 20  # series that failed, or are most at risk, by name


@dataclass(frozen=True)
class _View:
    """What is looked at in runs of a task.

    Attributes:
        columns: of the table, drawn.
        main: the one that is compared with the run before.
        size: (m, horizon, columns) -> (m,) what the largest series are the largest by.
        change: how far (m, horizon, columns) are from (m, horizon) of the run before, NaN without an overlap.
    """

    columns: list[str]
    main: str
    size: Callable[[np.ndarray], np.ndarray]
    change: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fan:
    """A forecast worth drawing.

    Attributes:
        series: position in the panel.
        position: of the cutoff on the time axis.
        bands: (horizon, 5) quantiles in the order of ``BANDS``; (horizon, 1) probability of an event.
        before: (horizon,) median, or probability, of the run before at the same stamps, NaN where it had none.
        change: mean distance between the two medians, in widths of the 80 % interval, or between the two
            probabilities; NaN without an overlap.
        reason: why it is not the model's own; '' if it is.
    """

    series: int
    position: int
    bands: np.ndarray
    before: np.ndarray
    change: float
    reason: str


@dataclass(frozen=True)
class Review:
    """See :func:`review`.

    Attributes:
        manifest: of the run.
        before: of the run that its forecasts are compared with, or None.
        trouble: why that one cannot be read, or ''.
        panel: the snapshot that was scored.
        fans: what is drawn, by the reason why. The largest series are those with the largest forecasts, or those most
            at risk: with the largest probability that the event happens within the horizon.
        risks: of events: id, probability by the first step and by the last of the series most at risk.
        missing: ids that were to be drawn and have no forecast.
        reasons: series by what failed.
        groups: (series, fallbacks, quarantined) by name, worst first, for each way to divide the series.
        failed: id, state, reason, last value's stamp and rows of history of some series that failed.
    """

    manifest: dict[str, Any]
    before: dict[str, Any] | None
    trouble: str
    panel: Panel
    fans: dict[str, list[Fan]]
    risks: list[tuple[str, float, float]]
    missing: list[str]
    reasons: list[tuple[str, int]]
    groups: dict[str, list[tuple[str, int, int, int]]]
    failed: list[tuple[str, str, str, pd.Timestamp, int]]


def review(manifest: dict[str, Any], sink: Sink, show: Sequence[str] = ()) -> Review:
    """Look through a published run.

    Args:
        manifest: of the run, whole.
        sink: where it was published.
        show: ids of series to draw in any case.

    Raises:
        ScoringError: SNAPSHOT if what it scored is no longer there; CORRUPT.
    """
    panel = _snapshot(manifest)
    before = _before(manifest, sink)
    view = _VIEWS[store.task_of(manifest)]
    known, trouble = None, ""
    try:
        known = _main(before, view, sink, panel) if before else None
    except ScoringError as error:  # this run can be looked at all the same
        trouble = str(error)
    ids, horizon = pd.Index(panel.series["unique_id"]), manifest["horizon"]
    state = np.full(panel.n_series, QUARANTINED, np.int8)
    why = np.full(panel.n_series, "", object)
    fans: dict[str, list[tuple[float, Fan]]] = {CHOSEN: [], CHANGED: [], LARGEST: []}
    risks: list[tuple[str, float, float]] = []
    for piece in sink.pieces(manifest, ["unique_id", "cutoff", "step", "fallback", *view.columns]):
        series, position, rows = _blocks(piece, panel, ids, horizon)
        bands = rows[view.columns].to_numpy(np.float32).reshape(-1, horizon, len(view.columns))
        why[series] = reason = rows["fallback"].iloc[::horizon].fillna("").to_numpy(object)
        state[series] = np.where(reason == "", FORECAST, FALLBACK)
        earlier = _overlap(known, series, position, horizon)
        change, size = view.change(bands, earlier), view.size(bands)
        picked = {
            CHOSEN: (np.flatnonzero(ids[series].isin(show)), -series),
            CHANGED: (_top(np.nan_to_num(change)), change),
            LARGEST: (_top(size), size),
        }
        if view is _VIEWS["event"]:
            risks = _riskiest(risks, ids[series], bands[:, :, 0])
        for why_drawn, (found, rank) in picked.items():
            fans[why_drawn] += [
                (rank[i], Fan(series[i], position[i], band, was, change[i], reason[i]))
                for i, band, was in zip(found, bands[found], earlier[found], strict=True)
            ]
    ranked = {k: [fan for _, fan in sorted(v, key=lambda p: -p[0])] for k, v in fans.items()}
    drawn = {str(ids[fan.series]) for fan in ranked[CHOSEN]}
    lost = np.flatnonzero(state == QUARANTINED)
    listed = dict(manifest.get("quarantine", []))
    why[lost] = [listed.get(str(i), "quarantined; only the first are listed") for i in ids[lost]]
    return Review(
        manifest=manifest,
        before=before,
        trouble=trouble,
        panel=panel,
        fans={k: v if k == CHOSEN else v[:_DRAWN] for k, v in ranked.items() if v},
        risks=risks,
        missing=[i for i in show if i not in drawn],
        reasons=Counter(why[state != FORECAST]).most_common(),
        groups=_groups(panel, state, len(manifest.get("parts", []))),
        failed=_failed(panel, state, why),
    )


def _snapshot(manifest: dict[str, Any]) -> Panel:
    folder = SNAPSHOTS / manifest["data_hash"][:16] / "panel"
    try:
        return Panel.load(Path(folder))
    except PanelError as error:
        raise ScoringError(
            "SNAPSHOT",
            f"what run {manifest['run_key']} scored cannot be read: {error.what}",
            "A run can be drawn as long as its snapshot in data/scoring/ is kept.",
        ) from None


def _before(manifest: dict[str, Any], sink: Sink) -> dict[str, Any] | None:
    """The newest run of the same task, and event, published before this one that does not begin after it."""
    begins = store.age(manifest)[0]
    earlier = [
        m
        for m in sink.manifests(manifest["source"])
        if m["scored_at"] < manifest["scored_at"]
        and store.age(m)[0] <= begins
        and _asks(m) == _asks(manifest)
    ]
    return max(earlier, key=store.age, default=None)


def _blocks(
    piece: pd.DataFrame, panel: Panel, ids: pd.Index, horizon: int
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """(m,) positions of series in the panel, (m,) positions of their cutoffs; the rows, ``horizon`` per series."""
    steps = np.tile(np.arange(1, horizon + 1), len(piece) // horizon)
    if not np.array_equal(piece["step"], steps):
        piece = piece.sort_values(["unique_id", "step"], kind="stable")
    first = piece.iloc[::horizon]
    cutoff = first["cutoff"]
    if cutoff.dt.tz is not None:
        cutoff = cutoff.dt.tz_convert("UTC").dt.tz_localize(None)
    return ids.get_indexer(first["unique_id"]), panel.axis.get_indexer(cutoff), piece


def _asks(manifest: dict[str, Any]) -> tuple[str, Any]:
    return store.task_of(manifest), manifest.get("event")


def _main(
    manifest: dict[str, Any], view: _View, sink: Sink, panel: Panel
) -> tuple[np.ndarray, np.ndarray]:
    """(n, horizon) main column of each series of the panel in a run, NaN without one; (n,) position of its cutoff."""
    ids, horizon = pd.Index(panel.series["unique_id"]), manifest["horizon"]
    main = np.full((panel.n_series, horizon), np.nan, np.float32)
    positions = np.full(panel.n_series, -1)
    for piece in sink.pieces(manifest, ["unique_id", "cutoff", "step", view.main]):
        series, position, rows = _blocks(piece, panel, ids, horizon)
        there = (series >= 0) & (position >= 0)
        values = rows[view.main].to_numpy(np.float32).reshape(-1, horizon)
        main[series[there]] = values[there]
        positions[series[there]] = position[there]
    return main, positions


def _overlap(
    known: tuple[np.ndarray, np.ndarray] | None,
    series: np.ndarray,
    position: np.ndarray,
    horizon: int,
) -> np.ndarray:
    """(m, horizon) main column of the run before at the stamps of this one, NaN where it has none."""
    if known is None:
        return np.full((len(series), horizon), np.nan, np.float32)
    main, positions = known
    shift = position - positions[series]
    step = shift[:, None] + np.arange(horizon)
    there = (positions[series] >= 0)[:, None] & (shift >= 0)[:, None] & (step < main.shape[1])
    return np.where(there, main[series[:, None], np.where(there, step, 0)], np.nan)


def _change(bands: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """(m,) how far the medians are apart on the mean, in widths of the 80 % interval; NaN without an overlap."""
    there = ~np.isnan(earlier)
    count = there.sum(1)
    apart = np.abs(np.where(there, bands[:, :, MIDDLE] - earlier, 0)).sum(1)
    width = np.where(there, bands[:, :, MIDDLE + 1] - bands[:, :, MIDDLE - 1], 0).sum(1)
    floor = (
        1e-6 * (1 + np.abs(bands[:, :, MIDDLE]).mean(1)) * count
    )  # an interval may have no width
    return np.where(count > 0, apart / np.maximum(width, np.maximum(floor, 1e-30)), np.nan)


def _moved(bands: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """(m,) how far the probabilities are apart on the mean; NaN without an overlap."""
    there = ~np.isnan(earlier)
    apart = np.abs(np.where(there, bands[:, :, 0] - earlier, 0)).sum(1)
    return np.where(there.any(1), apart / np.maximum(there.sum(1), 1), np.nan)


_VIEWS: dict[Task, _View] = {
    "quantile": _View(BANDS, MODEL, lambda bands: np.abs(bands[:, :, MIDDLE]).sum(1), _change),
    "event": _View([PROBABILITY], PROBABILITY, lambda bands: bands[:, -1, 0], _moved),
}


def _riskiest(
    before: list[tuple[str, float, float]], ids: pd.Index, p: np.ndarray
) -> list[tuple[str, float, float]]:
    """The series most at risk, of those found before and of some more with (m, horizon) probabilities."""
    some = np.argsort(-p[:, -1], kind="stable")[:_LISTED]
    every = [*before, *((str(ids[i]), float(p[i, 0]), float(p[i, -1])) for i in some)]
    return sorted(every, key=lambda row: -row[2])[:_LISTED]


def _top(rank: np.ndarray) -> np.ndarray:
    """Positions of the largest; those of 0 are left out."""
    found = np.argsort(-rank, kind="stable")[:_DRAWN]
    return found[rank[found] > 0]


def _groups(
    panel: Panel, state: np.ndarray, shards: int
) -> dict[str, list[tuple[str, int, int, int]]]:
    """(series, fallbacks, quarantined) by static category, age of the newest value, length of history, and shard."""
    season, horizon = panel.meta.season_length, panel.meta.horizon
    divided: dict[str, tuple[np.ndarray, list[str]]] = {}
    for column in panel.meta.static:
        if column.categories is not None:
            code = panel.series[column.name].to_numpy(np.int64)
            divided[column.name] = code, ["(unknown)", *column.categories]
    if panel.meta.splits["by"] != "series_end":
        behind = panel.last - panel.position - panel.history
        names = ["at the cutoff", "up to a horizon before", "longer before"]
        divided["newest value"] = np.digitize(behind, [1, horizon + 1]), names
    names = ["under one season", "one to four seasons", "over four seasons"]
    divided["history"] = np.digitize(panel.history, [season, 4 * season + 1]), names
    if shards > 1:
        divided["shard"] = shard_of(panel.ids, shards), [str(i) for i in range(shards)]
    return {title: _counted(state, *parts) for title, parts in divided.items()}


def _counted(
    state: np.ndarray, code: np.ndarray, names: list[str]
) -> list[tuple[str, int, int, int]]:
    table = np.bincount(code * 3 + state, minlength=3 * len(names)).reshape(-1, 3)
    failed, every = table[:, 1:].sum(1), table.sum(1)
    order = np.lexsort((-every, -failed / np.maximum(every, 1)))
    order = order[every[order] > 0]
    rows = [(names[i], int(every[i]), int(table[i, 1]), int(table[i, 2])) for i in order[:_ROWS]]
    if len(rest := order[_ROWS:]):
        others = table[rest].sum(0)
        rows.append((f"{len(rest):,} others", int(others.sum()), int(others[1]), int(others[2])))
    return rows


def _failed(
    panel: Panel, state: np.ndarray, why: np.ndarray
) -> list[tuple[str, str, str, pd.Timestamp, int]]:
    stamps, words = stamps_of(panel), {FALLBACK: "fallback", QUARANTINED: "quarantined"}
    found = np.concatenate([np.flatnonzero(state == s) for s in (QUARANTINED, FALLBACK)])
    last = panel.position + panel.history - 1
    return [
        (
            str(panel.ids[i]),
            words[int(state[i])],
            str(why[i]),
            stamps[last[i]],
            int(panel.history[i]),
        )
        for i in found[:_LISTED]
    ]
