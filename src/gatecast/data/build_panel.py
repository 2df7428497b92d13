"""Observations to a panel: rows to their positions, names to codes, the task resolved on the data.

panel = build_panel(observations, static, feed)
panel.save(Path("data/panel"))
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core.errors import PanelError
from gatecast.data import calendar
from gatecast.data.config import Covariates, Feed, Splits
from gatecast.data.panel import FUTURE, PAST, STATIC, TARGET, Channel, Panel, PanelMeta
from gatecast.data.windows import rolling_origins, training_range


def build_panel(
    observations: pd.DataFrame,
    static: pd.DataFrame,
    feed: Feed,
    horizon: int | None = None,
    season_length: int | None = None,
    stride: int | None = None,
    feasible: bool = True,
) -> Panel:
    """Build a panel from observations.

    Args:
        observations: ``unique_id, ds, y`` + covariates, sorted, one row per (series, time).
        static: ``unique_id`` + static columns.
        feed: the source recipe.
        horizon, season_length, stride: override the recipe's task where not None.
        feasible: insist on training, validation and test windows (scoring needs none).

    Raises:
        PanelError: TOO-SHORT if the feed leaves no training, validation or test origin.
    """
    frequency = str(feed.frequency)
    task = feed.task
    horizon = horizon or task.horizon
    season_length = season_length or task.season_length or calendar.usual_season(frequency)
    known = observations["y"].notna().to_numpy()
    newest = observations["ds"].to_numpy()[known].max()
    # Covariates that are known further ahead than a forecast reaches are left out.
    reach = pd.Timestamp(newest) + horizon * calendar.offset(frequency)
    near = (observations["ds"] <= reach).to_numpy()
    if not near.all():
        observations = observations[near]
        known = known[near]
    axis = calendar.make_axis(observations["ds"].min(), observations["ds"].max(), frequency)
    at = axis.get_indexer(pd.DatetimeIndex(observations["ds"]))
    codes, ids = pd.factorize(observations["unique_id"])
    n = len(ids)
    begin = np.full(n, len(axis), np.int64)
    end, stop = np.zeros(n, np.int64), np.zeros(n, np.int64)
    np.minimum.at(begin, codes[known], at[known])
    np.maximum.at(end, codes[known], at[known] + 1)
    np.maximum.at(stop, codes, at + 1)
    indptr = np.concatenate([[0], np.cumsum(stop - begin)]).astype(np.int64)
    # covariates from before a series' first value are of no use
    keep = at >= begin[codes]
    rows = (indptr[codes] + at - begin[codes])[keep]

    channels = _channels(observations, feed)
    values = np.full((int(indptr[-1]), len(channels)), np.nan, np.float32)
    for c, channel in enumerate(channels):
        name = "y" if channel.role == TARGET else channel.name
        values[rows, c] = _encode(observations[name], channel)[keep]
    observed = ~np.isnan(values[:, 0])

    static_channels = _static_channels(static, feed)
    series = pd.DataFrame(
        {"unique_id": pd.Series(ids, dtype="str"), "position": begin, "history": end - begin}
    )
    aligned = static.set_index("unique_id").reindex(ids)
    for channel in static_channels:
        series[channel.name] = _encode(aligned[channel.name], channel)

    n_known = int(end.max())
    splits = _splits(task.splits, axis, n_known, season_length, horizon)
    features = calendar.choose(
        frequency, _n_training(splits, axis, n_known), feed.holidays, feed.calendar
    )
    meta = PanelMeta(
        source=feed.name,
        frequency=frequency,
        timezone=feed.timezone,
        first=str(axis[0]),
        axis_length=len(axis),
        season_length=season_length,
        horizon=horizon,
        stride=stride or task.stride or horizon,
        channels=channels,
        static=static_channels,
        calendar=features,
        holidays=feed.holidays,
        splits=splits,
        event=dict(task.event),
    )
    panel = Panel(values, observed, indptr, series, meta)
    panel = Panel(values, observed, indptr, series, replace(meta, data_hash=_hash(panel)))
    if feasible:
        _check_feasible(panel)
    return panel


def covariates_of(meta: PanelMeta) -> Covariates:
    """The covariates of the recipe that a panel was built by."""
    columns = [*meta.channels, *meta.static]
    return Covariates(
        static=[c.name for c in meta.static],
        past=[c.name for c in meta.channels if c.role == PAST],
        future=[c.name for c in meta.channels if c.role == FUTURE],
        categorical=[c.name for c in columns if c.categories is not None],
    )


def _channels(observations: pd.DataFrame, feed: Feed) -> list[Channel]:
    c = feed.covariates
    channels = [Channel(feed.target, TARGET)]
    for role, names in ((PAST, c.past), (FUTURE, c.future)):
        channels += [
            Channel(n, role, _categories(observations[n]) if n in c.categorical else None)
            for n in names
        ]
    return channels


def _static_channels(static: pd.DataFrame, feed: Feed) -> list[Channel]:
    def is_text(name: str) -> bool:
        return name in feed.covariates.categorical or not pd.api.types.is_numeric_dtype(
            static[name]
        )

    return [
        Channel(n, STATIC, _categories(static[n]) if is_text(n) else None)
        for n in feed.covariates.static
    ]


def _categories(column: pd.Series) -> list[str]:
    return sorted(str(v) for v in column.dropna().unique())


def _encode(column: pd.Series, channel: Channel) -> np.ndarray:
    """(rows,) float32: the number, or the code of the category (0: unknown or missing)."""
    if channel.categories is None:
        return column.to_numpy(np.float32, na_value=np.nan, copy=True)
    text = column.astype("str").where(column.notna())
    return (
        pd.Index(channel.categories, dtype="str").get_indexer(pd.Index(text, dtype="str")) + 1
    ).astype(np.float32)


def _splits(
    splits: Splits, axis: pd.DatetimeIndex, n_known: int, season_length: int, horizon: int
) -> dict[str, Any]:
    """Resolve fractions and step counts.

    A fraction is at least one horizon long, and ends of spans made from fractions lie at whole seasons from the
    start of the axis.
    """

    def steps(part: float) -> int:
        return int(part) if part >= 1 else max(int(part * n_known), horizon)

    if splits.by == "series_end":
        return {
            "by": "series_end",
            "validation": steps(splits.validation),
            "test": steps(splits.test),
        }

    def back(end: int, part: float) -> int:
        begin = end - steps(part)
        return begin if part >= 1 else begin // season_length * season_length

    validation_end = max(back(n_known, splits.test), 1)
    train_end = max(back(validation_end, splits.validation), 0)
    last = len(axis) - 1
    ends = {"train_end": min(train_end, last), "validation_end": min(validation_end, last)}
    return {"by": "time", **{name: str(axis[at]) for name, at in ends.items()}}


def _n_training(splits: dict[str, Any], axis: pd.DatetimeIndex, n_known: int) -> int:
    """Stamps from the start of the axis to the end of training."""
    if splits["by"] == "time":
        return int(axis.get_loc(pd.Timestamp(splits["train_end"])))
    return n_known - int(splits["validation"]) - int(splits["test"])


def _hash(panel: Panel) -> str:
    """sha256 over everything that can change a forecast: buffers, ids, statics, meaning and task."""
    digest = hashlib.sha256()
    digest.update(json.dumps(panel.meta.to_json(), sort_keys=True).encode())
    for array in (
        panel.values,
        panel.observed,
        panel.indptr,
        panel.position,
        panel.history,
        panel.static,
    ):
        digest.update(np.ascontiguousarray(array).data)
    for name in panel.ids:
        digest.update(str(name).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _check_feasible(panel: Panel) -> None:
    """Raise TOO-SHORT unless training, validation and test have a window each."""
    lo, hi = training_range(panel)
    spans = {"training": int(np.maximum(hi - lo, 0).sum())}
    spans["validation"] = len(rolling_origins(panel, "validation"))
    spans["test"] = len(rolling_origins(panel, "test"))
    for name, count in spans.items():
        if not count:
            raise PanelError(
                "TOO-SHORT",
                f"source '{panel.meta.source}' leaves no {name} window: {panel.last} steps of {panel.meta.frequency},"
                f" horizon {panel.meta.horizon}, splits {panel.meta.splits}.",
                "Choose a shorter horizon (-S horizon=…), other `task.splits` in the source recipe,"
                " or bring more data.",
            )
