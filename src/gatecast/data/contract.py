"""The contract of observations: what a row must be, what is repaired, what is set aside.

    rows in = accepted + repaired + quarantined

*Accepted* rows stand in the observations. *Repaired* rows were merged into another row of the same series and
time, or superseded by one that became known later. *Quarantined* rows are set aside with a code and a reason. A missing
value is no error: it stays missing and is masked later, never filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError, did_you_mean
from gatecast.data import calendar, stamps
from gatecast.data.config import Feed
from gatecast.data.rows import KEY, Rows

DTYPES = {"unique_id": "str", "ds": "datetime64[us]", "y": "float64"}
_QUARANTINE = ["unique_id", "ds", "y", "file", "line", "code", "reason"]


@dataclass
class Checked:
    """What the contract makes of a raw table.

    Attributes:
        observations: ``unique_id, ds, y`` + past and future covariates; sorted by series and time, one row each.
        static: ``unique_id`` + static columns, one row per series.
        quarantine: rows set aside, with ``code`` and ``reason``.
        report: counts for ``ingest_report.json``.
    """

    observations: pd.DataFrame
    static: pd.DataFrame
    quarantine: pd.DataFrame
    report: dict[str, Any]


def check(raw: pd.DataFrame, feed: Feed, as_of: str | None = None) -> Checked:
    """Check a raw table against the contract.

    Args:
        raw: as from :func:`gatecast.data.sources.read`.
        feed: the source recipe.
        as_of: cut the feed at this time: later values are unknown, later rows kept only for known covariates.

    Raises:
        IngestError: with a code, the file and line, the series, and the way out.
    """
    if lost := [name for name in feed.covariates.roles if name not in raw.columns]:
        names = ", ".join(f"'{name}'" for name in lost)
        raise IngestError(
            "COLUMN-MISSING",
            f"source '{feed.name}' has no column {names}.{did_you_mean(lost[0], map(str, raw.columns))}",
            "Correct `covariates` in the source recipe.",
        )
    rows = Rows(raw, feed)
    hint = stamps.suggest_frequency(raw) if pd.api.types.is_datetime64_any_dtype(raw["ds"]) else ""
    if feed.frequency:
        calendar.offset(feed.frequency)
    stamps.parse(rows)
    calendar.offset(feed.frequency, hint or stamps.suggest_frequency(rows.table))
    if feed.holidays:
        calendar.check_country(feed.holidays)
    ids = rows.table["unique_id"]
    rows.reject(
        (ids.isna() | (ids == "")).to_numpy(),
        "ID-MISSING",
        lambda r: f"no series id in column '{feed.id}'",
        "Fill the id column.",
    )
    _parse_columns(rows)
    ignored = stamps.cut(rows, as_of)
    rows_in = len(rows.table) + sum(map(len, rows.quarantined))
    stamps.supersede(rows)
    stamps.on_grid(rows)
    static = _static(rows)
    _merge_duplicates(rows)
    values = rows.table.groupby("unique_id", observed=True)["y"].transform("count").to_numpy()
    rows.reject(
        values == 0,
        "SERIES-EMPTY",
        lambda r: f"series '{r['unique_id']}' has no value at all",
        "Check `target`, `na_values` and `as_of`.",
        always=True,
    )

    columns = [*KEY, "y", *feed.covariates.past, *feed.covariates.future]
    observations = rows.table[columns].sort_values(KEY, kind="stable", ignore_index=True)
    there = static["unique_id"].isin(observations["unique_id"].unique())
    static = static[there].reset_index(drop=True)
    empty = pd.DataFrame(columns=_QUARANTINE, dtype="str")
    quarantine = pd.concat(rows.quarantined, ignore_index=True) if rows.quarantined else empty
    report = {
        "source": feed.name,
        "as_of": as_of,
        "rows_in": rows_in,
        "accepted": len(observations),
        "repaired": sum(rows.repaired.values()),
        "quarantined": len(quarantine),
        "ignored_after_as_of": ignored,
        "repairs": rows.repaired,
        "quarantine": {str(k): int(v) for k, v in quarantine["code"].value_counts().items()},
        **_facts(observations, feed),
    }
    if report["rows_in"] != report["accepted"] + report["repaired"] + report["quarantined"]:
        raise AssertionError(f"rows are lost or doubled: {report}")
    validate(observations, feed)
    return Checked(observations, static, quarantine, report)


def validate(observations: pd.DataFrame, feed: Feed) -> None:
    """Check that a table of observations is what :class:`Checked` promises.

    Raises:
        IngestError: CONTRACT, if columns, types, order or uniqueness are not as promised.
    """
    if fault := _fault(observations):
        raise IngestError(
            "CONTRACT",
            f"observations of '{feed.name}' break their contract: {fault}.",
            "This is a fault in gatecast: please report it.",
        )


def _fault(observations: pd.DataFrame) -> str | None:
    """What is wrong with a table of observations; None if nothing is."""
    for name, dtype in DTYPES.items():
        if name not in observations:
            return f"there is no column '{name}'"
        if observations[name].dtype != dtype:
            return f"column '{name}' is {observations[name].dtype}, not {dtype}"
    ids, ds = observations["unique_id"], observations["ds"]
    if ids.isna().any() or ds.isna().any():
        return "a row has no series or no time"
    if not ids.is_monotonic_increasing:
        return "its series are not sorted"
    same_series = ids.to_numpy()[1:] == ids.to_numpy()[:-1]
    if (same_series & (np.diff(ds.to_numpy()) <= np.timedelta64(0))).any():
        return "the times of a series are not sorted, or not unique"
    if np.isinf(observations["y"].to_numpy()).any():
        return "a value is not finite"
    return None


def _parse_columns(rows: Rows) -> None:
    """Numbers become float64, categories text; a row with a text or an infinite number for a number is a bad row."""
    c = rows.feed.covariates
    for column in ("y", *c.past, *c.future, *c.static):
        if column in c.categorical:
            rows.table[column] = _category(rows.table[column])
        elif column not in c.static or pd.api.types.is_numeric_dtype(rows.table[column]):
            _parse_numbers(rows, column)


def _category(column: pd.Series) -> pd.Series:
    """Names as text. A whole number is the same name whether the file holds it as 1 or as 1.0."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype("str").where(column.notna())


def _parse_numbers(rows: Rows, column: str) -> None:
    feed = rows.feed
    name, prefix = (feed.target, "Y") if column == "y" else (column, "COV")
    numbers = _numbers(rows.table[column], feed.decimal)
    rows.reject(
        (numbers.isna() & rows.table[column].notna()).to_numpy(),
        f"{prefix}-TEXT",
        lambda r: (
            f"series '{r['unique_id']}' has the text '{r[column]}' in column '{name}' at {r['ds']}"
        ),
        "Correct the value, add it to `na_values:` if it means missing, or set `decimal:`."
        if column == "y"
        else "Add the column to `covariates.categorical`, or its text to `na_values:`.",
    )
    numbers = _numbers(rows.table[column], feed.decimal)
    rows.reject(
        (numbers.abs() > np.finfo(np.float32).max).to_numpy(),
        f"{prefix}-INFINITE",
        lambda r: f"series '{r['unique_id']}' has no finite number in column '{name}' at {r['ds']}",
        "Correct the value: it is larger than any number gatecast can hold.",
    )
    rows.table[column] = _numbers(rows.table[column], feed.decimal)


def _numbers(raw: pd.Series, decimal: str) -> pd.Series:
    """float64, NaN where the text is no number: with one bad cell, pandas leaves the whole column as text."""
    if decimal != "." and not pd.api.types.is_numeric_dtype(raw):
        raw = raw.astype("str").where(raw.notna()).str.replace(decimal, ".", regex=False)
    return pd.to_numeric(raw, errors="coerce").astype("float64")


def _static(rows: Rows) -> pd.DataFrame:
    names = rows.feed.covariates.static
    if not names:
        ids = sorted(rows.table["unique_id"].unique())
        return pd.DataFrame({"unique_id": pd.Series(ids, dtype="str")})
    for name in names:
        varying = rows.table.groupby("unique_id", observed=True)[name].nunique()
        if (varying > 1).any():
            series = varying.index[varying > 1][0]
            values = rows.table.loc[rows.table["unique_id"] == series, name].dropna().unique()[:2]
            raise IngestError(
                "STATIC-VARIES",
                f"static column '{name}' changes within series '{series}' ({values[0]!r}, {values[1]!r}).",
                "List it under `covariates.past` or `covariates.future` instead.",
            )
    return rows.table.groupby("unique_id", sort=True, observed=True)[names].first().reset_index()


def _merge_duplicates(rows: Rows) -> None:
    """Exact duplicates are one row; conflicting ones follow the recipe's ``duplicates``."""
    content = [c for c in rows.table.columns if c not in ("file", "line")]
    rule = rows.feed.duplicates
    keep = "last" if rule == "last" else "first"
    exact = rows.table.duplicated(content, keep=keep).to_numpy()
    if exact.any():
        rows.repaired["EXACT-DUPLICATE"] = int(exact.sum())
        rows.table = rows.table[~exact].reset_index(drop=True)
    double = rows.table.duplicated(KEY, keep=False).to_numpy()
    if not double.any():
        return
    if rule == "error":
        clash = rows.table[double].sort_values([*KEY, "line"], kind="stable")
        a, b = clash.iloc[0], clash.iloc[1]
        what = (
            f"two values for {a['ds']} ({a['y']} and {b['y']})"
            if a["y"] != b["y"] and not (np.isnan(a["y"]) and np.isnan(b["y"]))
            else f"two rows for {a['ds']} whose covariates differ"
        )
        hint = (
            "The feed looks like local time at a clock change. Declare `timezone:` in the source recipe, or choose"
            if calendar.is_subdaily(str(rows.feed.frequency)) and _at_clock_change(clash)
            else "Choose"
        )
        raise IngestError(
            "DUP-TIME",
            f"{b['file']} line {b['line']}: series '{a['unique_id']}' has {what}; the other is line {a['line']}.",
            f"{hint} `duplicates: mean|first|last`.",
        )
    before = len(rows.table)
    if rule == "mean":
        numbers = rows.table.groupby(KEY, sort=False, observed=True)["y"].transform("mean")
        rows.table["y"] = numbers
    rows.table = rows.table.drop_duplicates(KEY, keep=keep, ignore_index=True)
    rows.repaired[f"DUPLICATE-{rule.upper()}"] = before - len(rows.table)


def _at_clock_change(clash: pd.DataFrame) -> bool:
    """Whether all doubled stamps lie in the small hours of an autumn Sunday."""
    ds = clash["ds"].dt
    return bool(((ds.dayofweek == 6) & ds.month.isin([10, 11]) & (ds.hour <= 3)).all())


def _facts(observations: pd.DataFrame, feed: Feed) -> dict[str, Any]:
    known = observations[observations["y"].notna()]
    spans = known.groupby("unique_id", observed=True)["ds"].agg(["min", "max"])
    axis = calendar.make_axis(
        observations["ds"].min(), observations["ds"].max(), str(feed.frequency)
    )
    expected = int(
        (
            axis.get_indexer(pd.DatetimeIndex(spans["max"]))
            - axis.get_indexer(pd.DatetimeIndex(spans["min"]))
            + 1
        ).sum()
    )
    in_span = observations.merge(spans, left_on="unique_id", right_index=True)
    present = in_span[(in_span["ds"] >= in_span["min"]) & (in_span["ds"] <= in_span["max"])]
    return {
        "series": int(observations["unique_id"].nunique()),
        "frequency": feed.frequency,
        "timezone": feed.timezone,
        "first": str(known["ds"].min()),
        "last": str(known["ds"].max()),
        "values": len(known),
        "missing_rows": expected - len(present),
        "missing_values": int((in_span["y"].isna() & (in_span["ds"] <= in_span["max"])).sum()),
        "rows_known_ahead": int((in_span["ds"] > in_span["max"]).sum()),
    }
