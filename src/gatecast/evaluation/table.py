"""Forecasts as the long table that people and `utilsforecast` read, and frames as panels."""

from __future__ import annotations

import warnings
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gatecast.core.errors import IngestError, did_you_mean
from gatecast.core.forecast import QUANTILES, Forecast, QuantileForecast
from gatecast.data import contract
from gatecast.data.build_panel import build_panel, covariates_of
from gatecast.data.config import Feed, Splits, Task
from gatecast.data.panel import TARGET, Panel, PanelMeta
from gatecast.data.windows import Windows


def stamps_of(source: Panel) -> pd.DatetimeIndex:
    """Stamps of the panel's time axis as people read them: in the source's time zone, if it declares one."""
    zone = source.meta.timezone
    return source.axis.tz_localize("UTC").tz_convert(zone) if zone else source.axis


def to_table(source: Panel, forecast: Forecast) -> pd.DataFrame:
    """One row per (window, step), as a frame: see :func:`to_arrow`."""
    return plain(to_arrow(source, forecast)).to_pandas()


def to_arrow(source: Panel, forecast: Forecast) -> pa.Table:
    """One row per (window, step), straight from the arrays; ids are dictionaries.

    Returns:
        ``unique_id``, ``cutoff`` (last stamp before the forecast), ``ds``, ``step`` (from 1) and the columns of the
        forecast: quantiles, or the ``probability`` that the event has happened by ``ds``. Stamps carry the source's
        time zone if it declares one.
    """
    n, horizon = forecast.shape
    windows, stamps = forecast.windows, stamps_of(source)
    first = source.position[windows.series] + windows.origin  # on the time axis, of the forecast
    stamp = pa.timestamp("us", source.meta.timezone)

    def when(at: np.ndarray) -> pa.Array:
        return pa.array(stamps.asi8[at], pa.int64()).cast(stamp)

    columns: dict[str, Any] = {
        "unique_id": repeated(ids_of(source, windows), np.arange(n), horizon),
        "cutoff": when(np.repeat(first - 1, horizon)),
        "ds": when((first[:, None] + np.arange(horizon)).ravel()),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), n),
    }
    columns |= {name: forecast.column(name).ravel() for name in forecast.columns}
    return pa.table(columns)


def ids_of(source: Panel, windows: Windows) -> pa.Array:
    """(n,) ids of the series of windows."""
    return pa.array(source.series["unique_id"].iloc[windows.series], pa.large_string())


def repeated(values: pa.Array, code: np.ndarray, times: int) -> pa.DictionaryArray:
    """(n times,) the value of each of n codes, so many times each."""
    return pa.DictionaryArray.from_arrays(np.repeat(code.astype(np.int32), times), values)


def plain(table: pa.Table) -> pa.Table:
    """A table with its dictionaries resolved."""
    fields = [
        f.with_type(pa.large_string()) if pa.types.is_dictionary(f.type) else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def from_table(table: pd.DataFrame, horizon: int) -> np.ndarray:
    """(n, horizon, Q) quantiles of a table whose rows are complete and sorted by window, then step."""
    columns = sorted(QuantileForecast.columns, key=QuantileForecast.level)
    grid = table[columns].to_numpy(np.float32)
    return grid.reshape(-1, horizon, len(QUANTILES))


def _target(meta: PanelMeta) -> str:
    return next(c.name for c in meta.channels if c.role == TARGET)


def feed_of(meta: PanelMeta) -> Feed:
    """A source recipe that reads a frame with the columns a model was trained with."""
    return Feed(
        name=meta.source,
        id="unique_id",
        time=["ds"],
        target=_target(meta),
        frequency=meta.frequency,
        covariates=covariates_of(meta),
        holidays=meta.holidays,
        calendar=bool(meta.calendar),
        timezone=meta.timezone,
        task=Task(
            horizon=meta.horizon,
            season_length=meta.season_length,
            splits=Splits(by="series_end", validation=1, test=1),
        ),
    )


def panel_of(frame: pd.DataFrame, meta: PanelMeta, cutoff: str | date | None = None) -> Panel:
    """Check a user's long table and build a panel that a model with this meta can read.

    Args:
        frame: ``unique_id``, ``ds``, ``y`` + covariates; future rows have no ``y``. A covariate that is left out is
            unknown everywhere.
        meta: of the panel the model was trained on.
        cutoff: forget everything after this time.

    Raises:
        IngestError: EMPTY if no value is left to forecast from; else as the contract of observations says.
    """
    feed = feed_of(meta)
    frame = frame.rename(columns={_target(meta): "y"}) if "y" not in frame.columns else frame
    c = feed.covariates
    covariates = [*c.static, *c.past, *c.future]
    frame = _with_columns(frame, ["unique_id", "ds", "y"], covariates)
    if frame.empty:
        raise _nothing_known()
    raw = frame.reset_index(drop=True).assign(file="input", line=np.arange(len(frame)))
    # as in a feed: 7 and "7" are one series
    raw["unique_id"] = raw["unique_id"].astype("str").where(raw["unique_id"].notna())
    checked = contract.check(raw, feed, None if cutoff is None else str(cutoff))
    if checked.observations.empty:
        raise _nothing_known()
    return build_panel(checked.observations, checked.static, feed, feasible=False)


def _with_columns(frame: pd.DataFrame, required: list[str], optional: list[str]) -> pd.DataFrame:
    """The frame with exactly these columns; an optional one that it lacks is empty.

    Raises:
        IngestError: COLUMN-MISSING if a required one is missing, or an optional one seems to be misspelt.
    """
    wanted = [*required, *optional]
    others = [str(name) for name in frame.columns if name not in wanted]
    missing = [name for name in wanted if name not in frame.columns]
    for name in missing:
        hint = did_you_mean(name, others)
        if name in required or hint:
            raise IngestError(
                "COLUMN-MISSING",
                f"the input has no column '{name}'.{hint}",
                f"Give it the columns {', '.join(wanted)}.",
            )
    if missing:
        warnings.warn(f"forecasts without {', '.join(missing)}: not in the input", stacklevel=4)
    return frame.assign(**dict.fromkeys(missing, np.nan))[wanted]


def _nothing_known() -> IngestError:
    what = "the input holds no value of any series: there is nothing to forecast from."
    return IngestError("EMPTY", what, "Give it rows with a `y`.")
