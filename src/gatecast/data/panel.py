"""The panel: a whole data set as one dense, memory-mapped buffer.

    values   (T, C) float32   every series end to end; channel 0 is the target; NaN where unknown
    observed (T,)   bool      whether the target is known
    indptr   (n+1,) int64     series i owns rows indptr[i] .. indptr[i+1]

A row of a series is a step of its time: gaps are rows with ``observed`` false, never zeros. A series begins at
its first value; rows after its last value carry covariates known ahead. ``panel.json`` says what the channels
mean and which task is solved; ``series.arrow`` names the series (Arrow IPC, memory-mapped, too).
"""

from __future__ import annotations

import json
import mmap
from dataclasses import asdict, dataclass, field
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

TARGET, PAST, FUTURE, STATIC = "target", "past", "future", "static"


@dataclass(frozen=True)
class Channel:
    """A column of the panel or of the statics. ``categories``: code k + 1 is category k, 0 is unknown or missing."""

    name: str
    role: str
    categories: list[str] | None = None

    @property
    def key(self) -> tuple[str, bool, bool]:
        """By which a model finds it in a panel: its name, whether it is the target, whether it holds codes."""
        return self.name, self.role == TARGET, self.categories is not None

    def __str__(self) -> str:
        """For messages: ``promo (future)``."""
        return f"{self.name} ({self.role}{'' if self.categories is None else ', categorical'})"


def absent(have: list[Channel], want: list[Channel]) -> list[Channel]:
    """The channels that a panel lacks of those that a model reads, wherever they stand."""
    known = {channel.key for channel in have}
    return [channel for channel in want if channel.key not in known]


def numeric(channels: list[Channel], role: str) -> list[int]:
    """Indices of the channels of a role that hold numbers."""
    return [i for i, c in enumerate(channels) if c.role == role and c.categories is None]


def coded(channels: list[Channel], role: str) -> list[int]:
    """Indices of the channels of a role that hold codes of categories."""
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
    # first stamp of the time axis
    first: str
    axis_length: int
    season_length: int
    horizon: int
    stride: int
    channels: list[Channel]
    static: list[Channel]
    calendar: list[str]
    holidays: str | None
    # by: time -> train_end, validation_end (stamps); by: series_end -> validation, test (steps)
    splits: dict[str, Any]
    quantiles: tuple[float, ...] = QUANTILES
    # {above: …} or {below: …}; empty: none
    event: dict[str, float] = field(default_factory=dict)
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

    ``series``: one row per series: ``unique_id``, ``position`` (row of the time axis at which it begins), ``history``
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
        """(n,) row of the time axis at which each series begins. Read-only."""
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
        """Row of the time axis just after the last value of any series."""
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
        """The same data with its series in another order; its hash stays the same.

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
        """Free the pages of the memory map that were read; they are read again where needed.

        Changes made in memory are lost.
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
            # columns stay where they are mapped
            series = table.to_pandas(split_blocks=True)
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
        series: one row per series, as :class:`Panel` says.
    """
    table = pa.Table.from_pandas(series, preserve_index=False)
    large = [
        f.with_type(pa.large_string()) if pa.types.is_string(f.type) else f for f in table.schema
    ]
    table = table.cast(pa.schema(large, table.schema.metadata)).combine_chunks()
    with pa.ipc.new_file(str(folder / "series.arrow"), table.schema) as out:
        out.write_table(table)
