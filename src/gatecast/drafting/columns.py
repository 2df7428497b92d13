"""What the columns of a raw table are, judged by their values and names: stamps, numbers, the series, the target.

Everything here is a guess about a table of which nothing has been declared; :mod:`gatecast.drafting.recipe` says so.
Stamps are read as ingest reads them, so what is taken for time here is time there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data import stamps

TIME = ("ds", "date", "datetime", "timestamp", "time", "day", "week", "month", "period")
SERIES = (
    *("unique_id", "id", "series", "item", "sku", "product", "store", "shop", "site", "sensor"),
    *("meter", "station", "location", "customer", "symbol", "country"),
)
TARGET = (
    *("y", "target", "value", "sales", "demand", "load", "quantity", "qty", "units", "count"),
    *("cnt", "volume", "revenue", "consumption", "orders", "sold"),
)
HOURS = ("hour", "hr", "h", "time")

_ONE_DAY = pd.Timedelta(days=1)
_MARKS = 3  # texts in a column of numbers that may mean "missing": more are names
_SOME_DOUBLE = 0.01  # share of rows that may be duplicates


def by_name(columns: Iterable[str], names: tuple[str, ...]) -> list[str]:
    """The columns that have one of the names, as a whole or as a word; the likeliest first."""

    def rank(column: str) -> int | None:
        words = re.split(r"[^a-z0-9]+", column.lower())
        whole = next((k for k, name in enumerate(names) if column.lower() == name), None)
        part = next((k for k, name in enumerate(names) if name in words), None)
        return whole if whole is not None else None if part is None else len(names) + part

    ranks = {column: found for column in columns if (found := rank(column)) is not None}
    return sorted(ranks, key=lambda column: ranks[column])


@dataclass(frozen=True)
class Times:
    """The time of every row.

    Attributes:
        columns: that hold it.
        time_format: None: ISO 8601.
        values: (rows,) datetimes, NaT where there is none; aware if the stamps carry offsets.
        turned: whether the format with day and month the other way round reads every stamp, too.
    """

    columns: list[str]
    time_format: str | None
    values: pd.Series
    turned: bool = False


def times(cells: pd.DataFrame, said: list[str] | None = None, form: str | None = None) -> Times:
    """The time of a table.

    Args:
        cells: text, or the types of a Parquet file; empty cells are missing.
        said: the columns that hold it, if the user has said so.
        form: their format, likewise.

    Raises:
        IngestError: DRAFT-TIME if no column (or none of those said) holds time stamps.
    """
    if said:
        found = _together(cells, said, form)
        if found is None:
            what = f"'{' '.join(said)}'" + (f" as {form}" if form else "")
            first = " ".join(str(cells[c].dropna().iloc[0]) for c in said if cells[c].notna().any())
            raise IngestError(
                "DRAFT-TIME",
                f"{what} cannot be read as time stamps, such as '{first}'.",
                "Say their format: time_format='%d.%m.%Y %H:%M' (Python's codes).",
            )
        return found
    single = [found for c in all_times(cells) if (found := _together(cells, [c], form))]
    whole = [found for found in single if not _bare_year(cells[found.columns[0]])]
    calendar = [_calendar_columns(cells)]
    for columns in [*(found.columns for found in whole), *calendar, *(f.columns for f in single)]:
        if columns and (found := _together(cells, columns, form)):
            return _with_hours(cells, found)
    raise IngestError(
        "DRAFT-TIME",
        f"no column holds time stamps. Columns: {', '.join(map(str, cells.columns[:20]))}.",
        "Name it, and its format where that is unusual: time=date time_format='%d.%m.%Y'. A table with one row per"
        " series and no stamps needs `layout: wide_rows`: copy conf/source/files.yaml.",
    )


def all_times(cells: pd.DataFrame) -> list[str]:
    """Every column that holds different time stamps by itself, the likeliest first."""
    found = [c for c in cells if cells[c].nunique() > 1 and _together(cells, [c], None)]
    named = by_name(found, TIME)
    return [*named, *(c for c in found if c not in named)]


def _bare_year(column: pd.Series) -> bool:
    return bool(column.dropna().astype("str").str.fullmatch(r"\d{4}").all())


def _calendar_columns(cells: pd.DataFrame) -> list[str]:
    """Columns called year, month (and day, and hour)."""
    lower = {str(c).lower(): c for c in cells}
    names = [name for name in ("year", "month", "day", "hour") if name in lower]
    return [lower[name] for name in names] if names[:2] == ["year", "month"] else []


def _with_hours(cells: pd.DataFrame, found: Times) -> Times:
    """Join dates with the column of hours that stands beside them, if there is one."""
    first = found.columns[0]
    dates = found.values.dropna()
    if len(found.columns) > 1 or not dates.dt.normalize().eq(dates).all():
        return found
    if pd.api.types.is_datetime64_any_dtype(cells[first]):
        return found
    date = found.time_format or "%Y-%m-%d"
    for column in by_name((c for c in cells if c != first), HOURS):
        text = cells[column].dropna().astype("str")
        form = next((f for f, like in _CLOCKS.items() if text.str.fullmatch(like).all()), None)
        if form and text.nunique() > 1:
            return _together(cells, [first, column], f"{date} {form}") or found
    return found


# those that pandas does not guess
_MORE_FORMATS = (
    *("%d.%m.%y", "%d.%m.%y %H:%M", "%d/%m/%y", "%m/%d/%y"),
    *("%b %Y", "%B %Y", "%m/%Y", "%m.%Y"),
)
_CLOCKS = {
    "%H": r"[01]?\d|2[0-3]",
    "%H:%M": r"([01]?\d|2[0-3]):[0-5]\d",
    "%H:%M:%S": r"([01]?\d|2[0-3]):[0-5]\d:[0-5]\d",
}


def _together(cells: pd.DataFrame, columns: list[str], form: str | None) -> Times | None:
    """Columns as the time of the rows, or None if they are no time."""
    first = cells[columns[0]]
    if len(columns) == 1 and pd.api.types.is_datetime64_any_dtype(first):
        return Times(columns, None, first)
    parts = [cells[c].astype("str").str.strip().where(cells[c].notna()) for c in columns]
    text = parts[0].str.cat(parts[1:], sep=" ") if len(parts) > 1 else parts[0]
    filled = text.dropna()
    if filled.empty or len(filled) < 0.5 * len(text):
        return None
    formats = [form] if form else _formats(columns, filled)
    readings = [(f, values) for f in formats if (values := _read(filled, f)) is not None]
    if not readings:
        return None
    chosen, values = readings[0]
    turned = any(not other.equals(values) for _, other in readings)
    return Times(columns, chosen, values.reindex(text.index), turned)


def _formats(columns: list[str], text: pd.Series) -> list[str | None]:
    """Formats that a column of texts may have; None: ISO 8601."""
    if len(columns) > 1:
        known = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}
        codes = [known.get(str(c).lower()) for c in columns]
        return [" ".join(filter(None, codes))] if all(codes) else [None]
    if text.str.fullmatch(r"[+-]?\d+([.,]\d*)?").all():
        # a number is time only if it can hardly be anything else
        year = _bare_year(text) and str(columns[0]).lower() in ("year", "yr", "ds")
        return [None] if year or text.str.fullmatch(r"(19|20)\d{6}").all() else []
    if _read(text, None) is not None:
        return [None]
    first = text.iloc[0]
    european = re.search(r"\d\.\d+\.", first) is not None
    guesses = [
        pd.tseries.api.guess_datetime_format(first, dayfirst=day_first)
        for day_first in (european, not european)
    ]
    long = [form for form in guesses if form]
    # of "1 May" it cannot tell whether the months are abbreviated
    short = [form.replace("%B", "%b") for form in long]
    return [*dict.fromkeys([*long, *short, *_MORE_FORMATS])]


def _read(text: pd.Series, form: str | None) -> pd.Series | None:
    """Stamps, or None if more than a few of the texts are none."""
    different = pd.Series(text.unique())
    few = different.iloc[:50]
    try:
        if stamps.read(few, form).isna().mean() > 0.1:
            return None
        values = stamps.read(different, form)
    except (IngestError, ValueError):
        return None
    usual = values.dt.year.between(1800, 2200)
    if usual.mean() < 0.99:
        return None
    return text.map(dict(zip(different, values, strict=True)))


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (rows,) float64, NaN where there is none.
        marks: texts that mean "missing".
    """

    values: pd.Series
    marks: list[str]

    @property
    def counts_rows(self) -> bool:
        """Whether it is 1, 2, 3, … down the table: a number of the row."""
        steps = np.diff(self.values.to_numpy())
        return len(steps) > 1 and bool((steps == 1).all())


def numbers(column: pd.Series, decimal: str) -> Numbers | None:
    """A column as numbers; None if it holds names, or nothing."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return None
    if pd.api.types.is_numeric_dtype(column):
        return Numbers(column.astype("float64"), []) if column.notna().any() else None
    text = column.astype("str").where(column.notna())
    values = pd.to_numeric(text.str.replace(decimal, ".", regex=False), errors="coerce")
    marks = text[values.isna()].dropna().unique()
    strange = len(marks) > _MARKS or any(re.search(r"\d", mark) for mark in marks)
    if strange or values.count() <= 0.5 * text.count():
        return None
    return Numbers(values.astype("float64"), [str(mark) for mark in marks])


def decimal_of(cells: pd.DataFrame) -> str:
    """A comma if a column of texts is numbers only with one, else a point."""
    for name in cells:
        text = cells[name].dropna().astype("str")
        if text.str.fullmatch(r"[+-]?\d+(,\d+)?").all() and text.str.contains(",").any():
            return ","
    return "."


def series_column(cells: pd.DataFrame, when: pd.Series, others: Iterable[str]) -> str | None:
    """The column that tells the series apart; None if the table is one series.

    Args:
        cells: the table.
        when: (rows,) the time of each row.
        others: columns that cannot be it.

    Raises:
        IngestError: DRAFT-ID if times repeat, and no single column tells the series apart.
    """
    rows = cells.assign(**{"": when}).drop_duplicates()
    candidates = [c for c in cells if c not in others]
    named = by_name(candidates, SERIES)
    if rows[""].duplicated().mean() <= _SOME_DOUBLE:
        return next((c for c in named if cells[c].nunique() == 1), None)
    at_once = int(rows.groupby("").size().max())
    words = [c for c in candidates if numbers(cells[c], ".") is None and c not in named]
    # an amount may happen to be different in each row of a time, but then it has very many values
    codes = [c for c in candidates if c not in words and rows[c].nunique() <= 3 * at_once]
    for column in (*named, *words, *(c for c in codes if c not in named)):
        if rows[column].notna().all() and not rows.duplicated([column, ""]).mean() > _SOME_DOUBLE:
            return column
    raise IngestError(
        "DRAFT-ID",
        f"there are up to {at_once:,} rows for one time, and no single column tells their series apart.",
        "Name it: id=store. If it takes several (store and item), add one that joins them to the file.",
    )
