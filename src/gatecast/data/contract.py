"""The contract of observations: what a row must be, what is repaired, what is set aside.

    rows in = accepted + repaired + quarantined

*Accepted* rows stand in the observations. *Repaired* rows were merged into another row of the same series and
time. *Quarantined* rows are set aside with a code and a reason. A missing value is no error: it stays missing
and is masked later, never filled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gatecast.config import Feed
from gatecast.data import calendar
from gatecast.errors import IngestError

KEY = ["unique_id", "ds"]


@dataclass
class Checked:
    """What the contract makes of a raw table.

    Attributes:
        observations: ``unique_id, ds, y`` + past and future covariates; sorted by series and time, one row each.
        static: ``unique_id`` + static columns, one row a series.
        quarantine: rows set aside, with ``code`` and ``reason``.
        report: counts for ``ingest_report.json``.
    """

    observations: pd.DataFrame
    static: pd.DataFrame
    quarantine: pd.DataFrame
    report: dict[str, Any]


@dataclass
class _Table:
    """A raw table on its way through the checks."""

    rows: pd.DataFrame
    feed: Feed
    quarantined: list[pd.DataFrame] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)

    def where(self, position: int) -> str:
        row = self.rows.iloc[position]
        return f"{row['file']} line {row['line']}"

    def reject(
        self,
        bad: np.ndarray,
        code: str,
        what: Callable[[pd.Series], str],
        fix: str,
        always: bool = False,
    ) -> None:
        """Raise for the first bad row, or set all of them aside if the recipe says so (``always``: in any case)."""
        if not bad.any():
            return
        first = int(np.flatnonzero(bad)[0])
        if self.feed.bad_rows == "error" and not always:
            more = f" ({int(bad.sum()):,} such rows in all)" if bad.sum() > 1 else ""
            raise IngestError(
                code,
                f"{self.where(first)}: {what(self.rows.iloc[first])}{more}.",
                f"{fix} Or set `bad_rows: quarantine` to set such rows aside.",
            )
        aside = self.rows[bad]
        reasons = [what(aside.iloc[i]) for i in range(min(len(aside), 1000))]
        reasons += [reasons[-1]] * (len(aside) - len(reasons))
        self.quarantined.append(
            aside.assign(code=code, reason=reasons).astype({"ds": "str", "y": "str"})
        )
        self.rows = self.rows[~bad].reset_index(drop=True)


def check(raw: pd.DataFrame, feed: Feed, as_of: str | None = None, horizon: int = 0) -> Checked:
    """Check a raw table against the contract.

    Args:
        raw: as from :func:`gatecast.data.sources.read`.
        feed: the source recipe.
        as_of: cut the feed at this time: later values are unknown, later rows kept only for known covariates.
        horizon: steps of known covariates to keep after ``as_of``.

    Raises:
        IngestError: with a code, the file and line, the series, and the way out.
    """
    table = _Table(raw, feed)
    _parse_time(table)
    calendar.offset(feed.frequency, _suggest_frequency(table.rows))
    ids = table.rows["unique_id"]
    table.reject(
        (ids.isna() | (ids == "")).to_numpy(),
        "ID-MISSING",
        lambda r: f"no series id in column '{feed.id}'",
        "Fill the id column.",
    )
    _parse_numbers(table)
    _to_utc(table)
    ignored = _cut(table, as_of, horizon)
    rows_in = len(table.rows) + sum(map(len, table.quarantined))
    _on_grid(table)
    static = _static(table)
    _merge_duplicates(table)
    values = table.rows.groupby("unique_id", observed=True)["y"].transform("count").to_numpy()
    table.reject(
        values == 0,
        "SERIES-EMPTY",
        lambda r: f"series '{r['unique_id']}' has no value at all",
        "",
        always=True,
    )
    if table.rows.empty:
        raise IngestError(
            "EMPTY-FEED",
            f"source '{feed.name}': no usable row is left.",
            "Check `target`, `na_values` and `as_of`.",
        )

    columns = [*KEY, "y", *feed.covariates.past, *feed.covariates.future]
    observations = table.rows[columns].sort_values(KEY, kind="stable", ignore_index=True)
    static = static[static["unique_id"].isin(observations["unique_id"].unique())].reset_index(
        drop=True
    )
    quarantine = (
        pd.concat(table.quarantined, ignore_index=True)
        if table.quarantined
        else pd.DataFrame(
            columns=["unique_id", "ds", "y", "file", "line", "code", "reason"], dtype="str"
        )
    )
    report = {
        "source": feed.name,
        "as_of": as_of,
        "rows_in": rows_in,
        "accepted": len(observations),
        "repaired": sum(table.repaired.values()),
        "quarantined": len(quarantine),
        "ignored_after_as_of": ignored,
        "repairs": table.repaired,
        "quarantine": {str(k): int(v) for k, v in quarantine["code"].value_counts().items()},
        **_facts(observations, feed),
    }
    if report["rows_in"] != report["accepted"] + report["repaired"] + report["quarantined"]:
        raise AssertionError(f"rows are lost or doubled: {report}")
    validate(observations, feed)
    return Checked(observations, static, quarantine, report)


def validate(observations: pd.DataFrame, feed: Feed) -> None:
    """Check a table of observations against its schema (pandera).

    Raises:
        IngestError: CONTRACT, if columns, types, order or uniqueness are not as promised.
    """
    import pandera.pandas as pa

    schema = pa.DataFrameSchema(
        {
            "unique_id": pa.Column(
                "str", pa.Check(lambda s: s.is_monotonic_increasing, error="not sorted")
            ),
            "ds": pa.Column("datetime64[us]"),
            "y": pa.Column(
                "float64", pa.Check(lambda s: np.isfinite(s), error="not finite"), nullable=True
            ),
        },
        unique=KEY,
        strict=False,
    )
    try:
        schema.validate(observations)
    except pa.errors.SchemaError as error:
        raise IngestError(
            "CONTRACT",
            f"observations of '{feed.name}' break their schema: {error}",
            "This is a fault in gatecast: please report it.",
        ) from None


def _parse_time(table: _Table) -> None:
    feed, ds = table.feed, table.rows["ds"]
    if pd.api.types.is_datetime64_any_dtype(ds):
        parsed = ds
    else:
        parsed = pd.to_datetime(
            ds.astype("str").str.strip(),
            format=feed.time_format or "ISO8601",
            errors="coerce",
            utc=False,
        )
        if not pd.api.types.is_datetime64_any_dtype(parsed):  # offsets that differ from row to row
            parsed = pd.to_datetime(
                ds, format=feed.time_format or "ISO8601", errors="coerce", utc=True
            )
    bad = parsed.isna().to_numpy()
    table.reject(
        bad,
        "TIME-PARSE",
        lambda r: (
            f"'{r['ds']}' in {'+'.join(feed.time)} is no time stamp"
            + (f" of the form {feed.time_format}" if feed.time_format else "")
        ),
        "Declare `time_format:` in the source recipe (e.g. '%d.%m.%Y %H:%M').",
    )
    parsed = parsed[~bad] if len(table.rows) < len(bad) else parsed
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    table.rows = table.rows.assign(ds=parsed.dt.as_unit("us").to_numpy())


def _parse_numbers(table: _Table) -> None:
    feed = table.feed
    numeric = [
        "y",
        *(
            c
            for c in (*feed.covariates.past, *feed.covariates.future)
            if c not in feed.covariates.categorical
        ),
    ]
    for column in numeric:
        name = feed.target if column == "y" else column
        raw = table.rows[column]
        parsed = pd.to_numeric(raw, errors="coerce").astype("float64")
        text = (parsed.isna() & raw.notna()).to_numpy()
        table.rows = table.rows.assign(**{column: parsed.where(~text, 0.0)})
        shown = raw.astype("str")
        table.reject(
            text,
            "Y-TEXT" if column == "y" else "COV-TEXT",
            lambda r, shown=shown, name=name: (
                f"series '{r['unique_id']}' has the text '{shown[r.name]}' in column '{name}' at {r['ds']}"
            ),  # type: ignore[misc]
            "Correct the value, add it to `na_values:` if it means missing, or set `decimal:`."
            if column == "y"
            else "Add the column to `covariates.categorical`, or its text to `na_values:`.",
        )
        values = table.rows[column].to_numpy()
        if column == "y":
            table.reject(
                np.isinf(values) | (np.abs(values) > np.finfo(np.float32).max),
                "Y-INFINITE",
                lambda r: f"series '{r['unique_id']}' has no finite value at {r['ds']}",
                "Correct the value: it is larger than any number gatecast can hold.",
            )
        else:
            table.rows[column] = np.where(np.isfinite(values), values, np.nan)
    for column in feed.covariates.categorical:
        table.rows[column] = table.rows[column].astype("str").where(table.rows[column].notna())


def _to_utc(table: _Table) -> None:
    zone = table.feed.timezone
    if not zone:
        return
    if not calendar.is_subdaily(str(table.feed.frequency)):
        raise IngestError(
            "TIMEZONE",
            f"`timezone: {zone}` has no meaning for frequency {table.feed.frequency}.",
            "Remove `timezone`: dates need none.",
        )
    second = table.rows.duplicated(
        KEY, keep="first"
    ).to_numpy()  # the hour that comes twice: the second is winter time
    try:
        local = table.rows["ds"].dt.tz_localize(zone, ambiguous=~second, nonexistent="NaT")
    except Exception as error:
        raise IngestError(
            "TIMEZONE",
            f"`timezone: {zone}` cannot be used: {error}",
            "Use a name such as Europe/Berlin.",
        ) from None
    table.reject(
        local.isna().to_numpy(),
        "TIME-DST",
        lambda r: (
            f"series '{r['unique_id']}': {r['ds']} does not exist in {zone} (the clock skips it)"
        ),
        "Correct `timezone` (is the feed in UTC?) or the stamp.",
    )
    table.rows["ds"] = local.dropna().dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()


def _cut(table: _Table, as_of: str | None, horizon: int) -> int:
    """Make the feed what it was at ``as_of``; returns the number of rows ignored."""
    if not as_of:
        return 0
    feed, before = table.feed, len(table.rows)
    try:
        now = pd.Timestamp(as_of)
    except ValueError:
        raise IngestError(
            "AS-OF", f"as_of={as_of} is no time.", "Write it like 2025-04-10T12:00."
        ) from None
    if now.tzinfo is not None:
        now = now.tz_convert("UTC").tz_localize(None)
    late = (table.rows["ds"] > now).to_numpy()
    keep = ~late
    if feed.covariates.future:
        keep |= (table.rows["ds"] <= now + horizon * calendar.offset(feed.frequency)).to_numpy()
        table.rows.loc[late, ["y", *feed.covariates.past]] = np.nan
    table.rows = table.rows[keep].reset_index(drop=True)
    if table.rows.empty:
        raise IngestError(
            "AS-OF", f"as_of={as_of} lies before the feed begins.", "Choose a later time."
        )
    return before - len(table.rows)


def _on_grid(table: _Table) -> None:
    """Every stamp must lie on one regular axis."""
    feed = table.feed
    stamps = pd.DatetimeIndex(table.rows["ds"].unique()).sort_values()
    axis = calendar.make_axis(stamps[0], stamps[-1], str(feed.frequency))
    off = stamps[axis.get_indexer(stamps) < 0] if len(axis) else stamps
    if not len(off):
        return
    bad = table.rows["ds"].isin(off).to_numpy()
    table.reject(
        bad,
        "TIME-GRID",
        lambda r: (
            f"series '{r['unique_id']}': {r['ds']} is no stamp of a regular {feed.frequency} axis"
            f" that begins at {stamps[0]}"
        ),
        f"Correct `frequency`.{_suggest_frequency(table.rows)}",
    )


def _suggest_frequency(rows: pd.DataFrame) -> str:
    """A sentence that says what the stamps look like."""
    longest = rows["unique_id"].value_counts().index[:1]
    stamps = pd.DatetimeIndex(
        rows.loc[rows["unique_id"].isin(longest), "ds"].unique()
    ).sort_values()
    guess = None
    for length in (len(stamps), 200, 20):
        if guess is None and 3 <= length <= len(stamps):
            guess = pd.infer_freq(stamps[:length])
    return f" The stamps look like `frequency: {guess}`." if guess else ""


def _static(table: _Table) -> pd.DataFrame:
    names = table.feed.covariates.static
    static = (
        table.rows.groupby("unique_id", sort=True, observed=True)[names].first().reset_index()
        if names
        else None
    )
    for name in names:
        varying = table.rows.groupby("unique_id", observed=True)[name].nunique()
        if (varying > 1).any():
            series = varying.index[varying > 1][0]
            values = table.rows.loc[table.rows["unique_id"] == series, name].dropna().unique()[:2]
            raise IngestError(
                "STATIC-VARIES",
                f"static column '{name}' changes within series '{series}' ({values[0]!r}, {values[1]!r}).",
                "List it under `covariates.past` or `covariates.future` instead.",
            )
    return (
        static
        if static is not None
        else pd.DataFrame(
            {"unique_id": pd.Series(sorted(table.rows["unique_id"].unique()), dtype="str")}
        )
    )


def _merge_duplicates(table: _Table) -> None:
    """Exact duplicates are one row; conflicting ones follow the recipe's ``duplicates``."""
    content = [c for c in table.rows.columns if c not in ("file", "line")]
    exact = table.rows.duplicated(content, keep="first").to_numpy()
    if exact.any():
        table.repaired["EXACT-DUPLICATE"] = int(exact.sum())
        table.rows = table.rows[~exact].reset_index(drop=True)
    double = table.rows.duplicated(KEY, keep=False).to_numpy()
    if not double.any():
        return
    rule = table.feed.duplicates
    if rule == "error":
        clash = table.rows[double].sort_values([*KEY, "line"], kind="stable")
        a, b = clash.iloc[0], clash.iloc[1]
        what = (
            f"two values for {a['ds']} ({a['y']} and {b['y']})"
            if a["y"] != b["y"]
            else f"two rows for {a['ds']} whose covariates differ"
        )
        hint = (
            "The feed looks like local time at a clock change. Declare `timezone:` in the source recipe, or choose"
            if calendar.is_subdaily(str(table.feed.frequency)) and _at_clock_change(clash)
            else "Choose"
        )
        raise IngestError(
            "DUP-TIME",
            f"{b['file']} line {b['line']}: series '{a['unique_id']}' has {what}; the other is line {a['line']}.",
            f"{hint} `duplicates: mean|first|last`.",
        )
    before = len(table.rows)
    if rule == "mean":
        numbers = table.rows.groupby(KEY, sort=False, observed=True)["y"].transform("mean")
        table.rows["y"] = numbers
    keep = "last" if rule == "last" else "first"
    table.rows = table.rows.drop_duplicates(KEY, keep=keep, ignore_index=True)
    table.repaired[f"DUPLICATE-{rule.upper()}"] = before - len(table.rows)


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
