"""The panel: a whole data set as one dense buffer, memory-mapped.

    values   (T, C) float32   every series end to end; channel 0 is the target; NaN where unknown
    observed (T,)   bool      whether the target is known
    indptr   (n+1,) int64     series i owns rows indptr[i] .. indptr[i+1]

A row of a series is a step of its time: gaps are rows with ``observed`` false, never zeros. A series begins at
its first value; rows after its last value carry covariates known ahead. ``panel.json`` says what the channels
mean and which task is solved; ``series.arrow`` names the series (Arrow IPC, memory-mapped, too).
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gatecast.core import atomic
from gatecast.core.errors import PanelError
from gatecast.core.forecast import QUANTILES
from gatecast.data import calendar
from gatecast.data.config import Feed, Splits

TARGET, PAST, FUTURE, STATIC = "target", "past", "future", "static"


@dataclass(frozen=True)
class Channel:
    """A column of the panel or of the statics. ``categories``: code k + 1 is category k, 0 is unknown or missing."""

    name: str
    role: str
    categories: list[str] | None = None


def numeric(channels: list[Channel], role: str) -> list[int]:
    """Places of the channels of a role that hold numbers."""
    return [i for i, c in enumerate(channels) if c.role == role and c.categories is None]


def coded(channels: list[Channel], role: str) -> list[int]:
    """Places of the channels of a role that hold codes of categories."""
    return [i for i, c in enumerate(channels) if c.role == role and c.categories is not None]


def cardinalities(channels: list[Channel], role: str) -> list[int]:
    """Number of codes (unknown included) of each categorical channel of a role."""
    return [len(channels[i].categories or []) + 1 for i in coded(channels, role)]


@dataclass(frozen=True)
class PanelMeta:
    """What ``panel.json`` holds: the meaning of the buffer and the resolved task."""

    source: str
    frequency: str
    timezone: str | None
    first: str  # first stamp of the time axis
    axis_length: int
    season_length: int
    horizon: int
    stride: int
    channels: list[Channel]
    static: list[Channel]
    calendar: list[str]
    holidays: str | None
    splits: dict[
        str, Any
    ]  # by: time -> train_end, validation_end (stamps); by: series_end -> validation, test (steps)
    quantiles: tuple[float, ...] = QUANTILES
    event: dict[str, float] = field(default_factory=dict)  # {above: …} or {below: …}; empty: none
    data_hash: str = ""
    schema: int = field(default=1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PanelMeta:
        channels = [Channel(**c) for c in content["channels"]]
        static = [Channel(**c) for c in content["static"]]
        return cls(
            **{
                **content,
                "channels": channels,
                "static": static,
                "quantiles": tuple(content["quantiles"]),
            }
        )

    @property
    def steps_per_day(self) -> int | None:
        return calendar.steps_per_day(self.frequency)


@dataclass(frozen=True)
class Panel:
    """A data set and its task. Attributes as in the module's docstring.

    ``series``: one row a series: ``unique_id``, ``position`` (row of the time axis at which it begins), ``history``
    (rows up to and including its last value), then the static columns (numbers, or codes of categories).
    """

    values: np.ndarray
    observed: np.ndarray
    indptr: np.ndarray
    series: pd.DataFrame
    meta: PanelMeta

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A panel that was loaded travels to another process as its folder, not as a copy of its buffers."""
        folder = self.__dict__.get("_folder")
        return (Panel.load, (folder,)) if folder else super().__reduce_ex__(protocol)

    @property
    def n_series(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) rows of each series, those known ahead included."""
        return np.diff(self.indptr)

    @cached_property
    def history(self) -> np.ndarray:
        """(n,) rows of each series up to its last value: the origin from which it is scored. Read-only."""
        return self.series["history"].to_numpy(np.int64)

    @cached_property
    def position(self) -> np.ndarray:
        """(n,) place on the time axis of each series' first row. Read-only."""
        return self.series["position"].to_numpy(np.int64)

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) series ids."""
        return self.series["unique_id"].to_numpy(dtype=object)

    @cached_property
    def axis(self) -> pd.DatetimeIndex:
        """Stamps of the time axis, long enough for a forecast from the end of every series."""
        extra = self.meta.horizon + 1
        return pd.date_range(
            self.meta.first, periods=self.meta.axis_length + extra, freq=self.meta.frequency
        ).as_unit("us")

    @cached_property
    def static(self) -> np.ndarray:
        """(n, S) float32 static columns, in the order of ``meta.static``."""
        return self.series[[c.name for c in self.meta.static]].to_numpy(np.float32, copy=True)

    @cached_property
    def last(self) -> int:
        """Place on the time axis just after the last value of any series."""
        return int((self.position + self.history).max())

    @cached_property
    def split_points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,), (n,), (n,) row of each series at which training, validation and test end (exclusive)."""
        s = self.meta.splits
        if s["by"] == "series_end":
            validation_end = np.maximum(self.history - s["test"], 0)
            return np.maximum(validation_end - s["validation"], 0), validation_end, self.history
        ends = self.axis.get_indexer(pd.DatetimeIndex([s["train_end"], s["validation_end"]]))
        train, validation = (np.clip(end - self.position, 0, self.history) for end in ends)
        return train, validation, self.history

    def ordered(self, order: np.ndarray) -> Panel:
        """The same data, and so the same hash, its series in another order.

        Args:
            order: (n,) which series comes first, second, …
        """
        if (order == np.arange(self.n_series)).all():
            return self
        rows = [slice(*pair) for pair in np.stack([self.indptr[order], self.indptr[order + 1]], 1)]
        return Panel(
            np.concatenate([self.values[r] for r in rows]),
            np.concatenate([self.observed[r] for r in rows]),
            np.concatenate([[0], np.cumsum(self.lengths[order])]),
            self.series.iloc[order].reset_index(drop=True),
            self.meta,
        )

    def release(self) -> None:
        """Give back the memory of what was read of the memory map; it is read again where it is needed.

        What was changed in memory is lost.
        """
        for array in (self.values, self.observed):
            opened = getattr(array, "_mmap", None)
            if opened is not None and hasattr(mmap, "MADV_DONTNEED"):
                opened.madvise(mmap.MADV_DONTNEED)

    def save(self, path: Path) -> None:
        """Write the panel as a folder, atomically."""
        with atomic.folder(path) as out:
            np.save(out / "values.npy", self.values)
            np.save(out / "observed.npy", self.observed)
            np.save(out / "indptr.npy", self.indptr)
            write_series(out, self.series)
            atomic.write_json(out / "panel.json", self.meta.to_json())

    @classmethod
    def load(cls, path: Path) -> Panel:
        """Open a panel folder, memory-mapped (copy on write).

        Raises:
            PanelError: PANEL-MISSING, PANEL-READ.
        """
        if not (path / "panel.json").is_file():
            raise PanelError(
                "PANEL-MISSING", f"there is no panel in {path}.", "Run `dvc repro window` first."
            )
        try:
            meta = PanelMeta.from_json(json.loads((path / "panel.json").read_text()))
            values, observed, indptr = (
                np.load(path / f"{n}.npy", mmap_mode="c", allow_pickle=False)
                for n in ("values", "observed", "indptr")
            )
            with pa.memory_map(str(path / "series.arrow")) as file:
                table = pa.ipc.open_file(file).read_all()
            table.validate(full=True)
            series = table.to_pandas(split_blocks=True)  # columns stay where they are mapped
            named = {"unique_id", "position", "history", *(c.name for c in meta.static)}
            if not named <= {*series} or len(series) != len(indptr) - 1:
                raise ValueError("series.arrow does not describe its series")
            panel = cls(values, observed, indptr, series, meta)
            panel.__dict__["_folder"] = path.absolute()
            return panel
        except (ValueError, KeyError, TypeError, OSError, EOFError, pa.ArrowException) as error:
            raise PanelError(
                "PANEL-READ",
                f"the panel in {path} cannot be read: {error}",
                "Run `dvc repro --force window`.",
            ) from None


def write_series(folder: Path, series: pd.DataFrame) -> None:
    """Write ``series.arrow`` of a panel's folder: one batch, so that no column is copied where it is read.

    Args:
        folder: the panel's.
        series: one row a series, as :class:`Panel` says.
    """
    table = pa.Table.from_pandas(series, preserve_index=False)
    large = [
        f.with_type(pa.large_string()) if pa.types.is_string(f.type) else f for f in table.schema
    ]
    table = table.cast(pa.schema(large, table.schema.metadata)).combine_chunks()
    with pa.ipc.new_file(str(folder / "series.arrow"), table.schema) as out:
        out.write_table(table)


def build(
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
    keep = at >= begin[codes]  # covariates from before a series' first value are of no use
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
    from gatecast.data.windows import rolling_origins, training_range

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
