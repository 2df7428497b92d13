"""The time of a row: reading stamps, local time to UTC, the feed as of a moment, the regular grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data import calendar
from gatecast.data.rows import KEY, Rows


def instant(text: str, timezone: str | None = None) -> pd.Timestamp:
    """A moment that a user wrote, as a stamp without zone (UTC where a time zone is declared).

    Args:
        text: such as ``2025-04-10T12:00`` or ``2025-04-10T12:00+02:00``.
        timezone: in which a text without an offset is meant.

    Raises:
        IngestError: AS-OF.
    """
    try:
        moment = pd.Timestamp(text)
        if moment is pd.NaT:
            raise ValueError("not a time")
        if moment.tzinfo is None and timezone:
            moment = moment.tz_localize(timezone, ambiguous=True, nonexistent="shift_forward")
    except (ValueError, TypeError):
        raise IngestError(
            "AS-OF", f"as_of={text} is no time.", "Write it like 2025-04-10T12:00."
        ) from None
    return moment if moment.tzinfo is None else moment.tz_convert("UTC").tz_localize(None)


def parse(rows: Rows) -> None:
    """Read the stamps; those without an offset are local to the declared time zone; all become UTC or stay naive."""
    feed = rows.feed
    form = f" of the form {feed.time_format}" if feed.time_format else ""
    parsed = _parse(
        rows,
        "ds",
        feed.time_format,
        "TIME-PARSE",
        lambda r: f"'{r['ds']}' in {'+'.join(feed.time)} is no time stamp{form}",
        "Declare `time_format:` in the source recipe (e.g. '%d.%m.%Y %H:%M').",
    )
    aware = parsed.dt.tz is not None
    rows.table = rows.table.assign(ds=_naive(parsed))
    if not aware:
        _localise(rows)
    if feed.known_at:
        _parse_known(rows)


def _parse(
    rows: Rows,
    column: str,
    time_format: str | None,
    code: str,
    what: Callable[[pd.Series], str],
    fix: str,
) -> pd.Series:
    """Times of a column, naive or aware; rows without one are bad."""
    raw = rows.table[column]
    parsed = raw if pd.api.types.is_datetime64_any_dtype(raw) else read(raw, time_format)
    bad = parsed.isna().to_numpy()
    rows.reject(bad, code, what, fix)
    return parsed[~bad]


def _naive(times: pd.Series) -> np.ndarray:
    """Without a zone, in microseconds; aware ones in UTC."""
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return times.dt.as_unit("us").to_numpy()


def _parse_known(rows: Rows) -> None:
    """When each row became known: local without an offset, as stamps are, and the earlier one in a repeated hour."""
    column, zone = rows.feed.known_at, rows.feed.timezone
    times = _parse(
        rows,
        "known_at",
        None,
        "KNOWN-AT",
        lambda r: (
            f"series '{r['unique_id']}', {r['ds']}: '{r['known_at']}' in column '{column}' is no time"
        ),
        "Write when the row became known like 2025-04-10T12:00.",
    )
    if zone and times.dt.tz is None:
        first = np.ones(len(times), dtype=bool)
        times = times.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    rows.table = rows.table.assign(known_at=_naive(times))


def read(ds: pd.Series, time_format: str | None) -> pd.Series:
    """Times of a column of texts, NaT where a text is none; aware if they carry offsets.

    Args:
        ds: the texts.
        time_format: Python's codes; None: ISO 8601.

    Raises:
        IngestError: TIME-FORMAT.
    """
    text = ds.astype("str").str.strip()
    how = {"format": time_format or "ISO8601", "errors": "coerce"}
    try:
        return pd.to_datetime(text, **how)
    except ValueError as error:
        if "timezone" not in str(error).lower() and "offset" not in str(error).lower():
            raise IngestError(
                "TIME-FORMAT",
                f"`time_format: {time_format}` is no format ({error}).",
                "Use Python's codes, e.g. '%d.%m.%Y %H:%M'.",
            ) from None
    # Offsets that differ from row to row; a stamp without one among them has no meaning.
    with_offset = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")
    return pd.to_datetime(text, utc=True, **how).where(with_offset)


def _localise(rows: Rows) -> None:
    zone = rows.feed.timezone
    if not zone:
        return
    if not calendar.is_subdaily(str(rows.feed.frequency)):
        raise IngestError(
            "TIMEZONE",
            f"`timezone: {zone}` has no meaning for frequency {rows.feed.frequency}.",
            "Remove `timezone`: dates need none.",
        )
    # Of the hour that a file has twice, the second occurrence is winter time.
    # A later correction of a row is no second occurrence: it became known at another time.
    same = [*KEY, "file", *(["known_at"] if rows.feed.known_at else [])]
    second = rows.table.duplicated(same, keep="first").to_numpy()
    try:
        local = rows.table["ds"].dt.tz_localize(zone, ambiguous=~second, nonexistent="NaT")
    except Exception as error:
        raise IngestError(
            "TIMEZONE",
            f"`timezone: {zone}` cannot be used: {error}",
            "Use a name such as Europe/Berlin.",
        ) from None
    rows.reject(
        local.isna().to_numpy(),
        "TIME-DST",
        lambda r: (
            f"series '{r['unique_id']}': {r['ds']} does not exist in {zone} (the clock skips it)"
        ),
        "Correct `timezone` (is the feed in UTC?) or the stamp.",
    )
    rows.table["ds"] = local.dropna().dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()


def cut(rows: Rows, as_of: str | None) -> int:
    """Make the feed what it was at ``as_of``: later values unknown, later rows kept for known covariates only.

    Where the recipe says when a row became known, rows that were not yet known are left out.

    Returns:
        Number of rows left out.
    """
    if not as_of:
        return 0
    feed, before = rows.feed, len(rows.table)
    now = instant(as_of, feed.timezone)
    late = (rows.table["ds"] > now).to_numpy()
    known = (rows.table["known_at"] <= now).to_numpy() if feed.known_at else True
    keep = ~late
    if feed.covariates.future:
        keep[:] = True
        rows.table.loc[late, ["y", *feed.covariates.past]] = np.nan
    rows.table = rows.table[keep & known].reset_index(drop=True)
    if rows.table.empty:
        raise IngestError(
            "AS-OF", f"as_of={as_of} lies before the feed begins.", "Choose a later time."
        )
    return before - len(rows.table)


def supersede(rows: Rows) -> None:
    """Of the rows of one series and time, only the one that became known last counts."""
    if not rows.feed.known_at:
        return
    latest = rows.table.groupby(KEY, sort=False, observed=True)["known_at"].transform("max")
    old = (rows.table["known_at"] < latest).to_numpy()
    if old.any():
        rows.repaired["SUPERSEDED"] = int(old.sum())
    rows.table = rows.table[~old].drop(columns="known_at").reset_index(drop=True)


def on_grid(rows: Rows) -> None:
    """Every stamp must lie on one regular axis: the one that most stamps lie on."""
    feed = rows.feed
    stamps = pd.DatetimeIndex(rows.table["ds"].unique()).sort_values()
    first = _anchor(stamps, str(feed.frequency))
    axis = calendar.make_axis(first, stamps[-1], str(feed.frequency), len(stamps))
    off = stamps[axis.get_indexer(stamps) < 0] if len(axis) else stamps
    if not len(off):
        return
    irregular = f" Local stamps of {feed.timezone} are not regular at this frequency."
    zone = irregular if feed.timezone else ""
    rows.reject(
        rows.table["ds"].isin(off).to_numpy(),
        "TIME-GRID",
        lambda r: (
            f"series '{r['unique_id']}': {r['ds']} is no stamp of a regular {feed.frequency} axis"
            f" that begins at {first}"
        ),
        f"Correct `frequency`.{zone}{suggest_frequency(rows.table)}",
    )


def _anchor(stamps: pd.DatetimeIndex, frequency: str) -> pd.Timestamp:
    """The first stamp with the phase (within a step, or within a day) that most stamps have."""
    step = calendar.offset(frequency)
    tick = isinstance(step, pd.tseries.offsets.Tick)
    length = pd.Timedelta(step) if tick else pd.Timedelta(days=1)
    phase = (stamps - pd.Timestamp("2000-01-01")) % length
    return stamps[np.flatnonzero(phase == phase.value_counts().index[0])[0]]


def suggest_frequency(table: pd.DataFrame) -> str:
    """A sentence that says what the stamps look like, or nothing."""
    longest = table["unique_id"].value_counts().index[:1]
    ours = table.loc[table["unique_id"].isin(longest), "ds"]
    guess = infer_frequency(pd.DatetimeIndex(ours.unique()).sort_values())
    return f" The stamps look like `frequency: {guess}`." if guess else ""


def infer_frequency(stamps: pd.DatetimeIndex) -> str | None:
    """The frequency of the first stamps that are regular, or None; they are sorted, and each is there once."""
    for length in (len(stamps), 200, 20):
        if 3 <= length <= len(stamps) and (frequency := pd.infer_freq(stamps[:length])):
            return str(frequency)
    return None
