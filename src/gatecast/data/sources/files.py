"""Feeds of files: CSV and Parquet of three layouts, read into one long table.

``long`` (one row per observation), ``wide`` (one column per series) and ``wide_rows`` (one row per series) become one
shape. The table that leaves this module keeps the file and line of every observation, so that an error can say
where to look. Values are not judged here, only whether files and columns can be read.
"""

from __future__ import annotations

import warnings
import zlib
from functools import partial
from lzma import LZMAError
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError, did_you_mean
from gatecast.data import calendar
from gatecast.data.config import FileFeed, SourceRecipe
from gatecast.data.sources.locate import Located, in_raw, locate, open_raw, sha256

RESERVED = ("unique_id", "ds", "y", "known_at", "file", "line", "position", "history")
NA = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


class FileSource:
    """CSV and Parquet files as a :class:`gatecast.data.sources.base.Source`."""

    recipe: ClassVar[type[SourceRecipe]] = FileFeed

    def __init__(self, feed: FileFeed) -> None:
        self.feed = feed

    def read(self, as_of: str | None = None) -> pd.DataFrame:
        parts = [
            _read_one(located, self.feed) for file in self.feed.files for located in locate(file)
        ]
        return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]

    def read_actuals(self) -> pd.DataFrame | None:
        if self.feed.actuals is None:
            return None
        parts = [_read_one(located, self.feed) for located in locate(self.feed.actuals)]
        return pd.concat(parts, ignore_index=True)

    def fingerprint(self) -> list[dict[str, Any]]:
        """Name, size and sha256 of every file."""
        entries: list[dict[str, Any]] = []
        for file in self.feed.files:
            for located in locate(file):
                with open_raw(located.address) as handle:
                    size = handle.seek(0, 2)
                entries.append(
                    {"name": located.name, "bytes": size, "sha256": sha256(located.address)}
                )
        return entries

    def unseen(self) -> list[str]:
        """Addresses of the files outside ``data/raw``, those with a declared sha256 aside."""
        loose = [file for file in self.feed.files if not file.sha256]
        addresses = [found.address for file in loose for found in locate(file)]
        return [address for address in addresses if not in_raw(address)]


def _read_one(located: Located, feed: FileFeed) -> pd.DataFrame:
    wanted = _wanted(feed)
    table, line = read_table(located, feed)
    missing = [c for c in wanted if c not in table.columns]
    if missing:
        names = ", ".join(f"'{c}'" for c in missing)
        raise IngestError(
            "COLUMN-MISSING",
            f"{located.name} has no column {names}.{did_you_mean(missing[0], map(str, table.columns))}",
            f"Its columns: {', '.join(map(str, table.columns[:20]))}."
            f"{_separator_hint(table)} Correct the recipe or the file.",
        )
    shape = {"long": _from_long, "wide": _from_wide, "wide_rows": _from_wide_rows}[feed.layout]
    out = shape(table, feed, line, located.name)
    # 7 and "7" are one series, "007" is another
    ids = out["unique_id"]
    out["unique_id"] = ids.astype("str").where(ids.notna())
    out["file"] = pd.Categorical([located.name] * len(out))
    return out


def read_table(
    located: Located, feed: FileFeed, as_text: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    """A raw file as it is, whatever its columns mean.

    Args:
        located: the file.
        feed: how it is written (``separator``, ``decimal``, ``na_values``), and how many ``rows`` to read.
        as_text: leave every cell of a CSV file as the text that it is; an empty one is missing.

    Returns:
        The table, and the line of each row in the file (CSV: the header is line 1; Parquet: rows from 1).

    Raises:
        IngestError: EMPTY-FILE, CSV-SHAPE, ENCODING, FILE-READ.
    """
    read = _parquet if located.is_parquet else partial(_csv, as_text=as_text)
    table, line = read(located, feed)
    if table.empty:
        raise IngestError(
            "EMPTY-FILE",
            f"{located.name} has no rows.",
            "Deliver a file with data, or correct `files` in the recipe.",
        )
    return table, line


def _separator_hint(table: pd.DataFrame) -> str:
    other = [mark for mark in ";\t|" if mark in str(table.columns[0])]
    return (
        f"The file looks like `separator: {other[0]!r}`. "
        if len(table.columns) == 1 and other
        else ""
    )


def _wanted(feed: FileFeed) -> list[str]:
    """Columns of the raw file that the recipe names."""
    c = feed.covariates
    # of a wide layout the column names are the ids
    wanted = [feed.id] if feed.id and feed.layout != "wide" else []
    wanted += feed.time if feed.layout != "wide_rows" else []
    if feed.layout == "long":
        wanted += [feed.target, *c.static, *c.past, *c.future]
        wanted += [feed.known_at] if feed.known_at else []
        clash = [x for x in (*c.static, *c.past, *c.future) if x in RESERVED]
        if clash:
            raise IngestError(
                "RESERVED",
                f"a covariate cannot be called '{clash[0]}'.",
                "Rename the column in the feed.",
            )
    return wanted


def _parquet(located: Located, feed: FileFeed) -> tuple[pd.DataFrame, np.ndarray]:
    """The table, and the row number of each row (from 1)."""
    import pyarrow as pa

    try:
        with open_raw(located.address) as handle:
            table = pd.read_parquet(handle)
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(
            "FILE-READ",
            f"{located.name} is no readable Parquet file: {error}",
            "Deliver the file again.",
        ) from None
    if table.index.names != [None]:
        table = table.reset_index()
    table = table.iloc[: feed.rows] if feed.rows else table
    return table, np.arange(len(table)) + 1


def _csv(
    located: Located, feed: FileFeed, as_text: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    """The table, and the line of each row in the file (the header is line 1)."""
    text = [c for c in (feed.id, feed.known_at) if c]
    text += [*feed.time, *feed.covariates.categorical]
    shape = "Correct the line, or `separator` and `decimal` in the recipe."
    try:
        with open_raw(located.address, decompress=True) as handle:
            first = pd.read_csv(
                handle,
                sep=feed.separator,
                nrows=1,
                header=None,
                dtype="str",
                na_filter=False,
                encoding="utf-8-sig",
            )
        header = [str(name) for name in first.iloc[0]]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise IngestError(
                "CSV-SHAPE", f"{located.name} has two columns called '{twice[0]}'.", "Rename one."
            )
        text = header if as_text else text
        missing = NA + feed.na_values
        with open_raw(located.address, decompress=True) as handle, warnings.catch_warnings():
            # cells that pandas would drop or shift
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                handle,
                sep=feed.separator,
                decimal=feed.decimal,
                nrows=feed.rows,
                index_col=False,
                dtype={c: "str" for c in text if c in header},
                keep_default_na=False,
                na_values={
                    c: ["", *feed.na_values] if c in text else missing
                    for c in header
                    if c != feed.id
                },
                skip_blank_lines=False,
                encoding="utf-8-sig",
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        raise IngestError(
            "EMPTY-FILE",
            f"{located.name} is empty.",
            "Deliver a file with a header line and data.",
        ) from None
    except pd.errors.ParserWarning:
        what = (
            f"{located.name}: its rows have more cells than its header has names ({len(header)})."
        )
        raise IngestError("CSV-SHAPE", what, shape) from None
    except pd.errors.ParserError as error:
        raise IngestError(
            "CSV-SHAPE",
            f"{located.name} is no regular CSV file: {' '.join(str(error).split())}.",
            shape,
        ) from None
    except UnicodeDecodeError as error:
        raise IngestError(
            "ENCODING", f"{located.name} is not UTF-8 text ({error}).", "Save it as UTF-8."
        ) from None
    except (OSError, EOFError, BadZipFile, LZMAError, zlib.error) as error:
        raise IngestError(
            "FILE-READ",
            f"{located.name} cannot be read: {error}.",
            "Check the file and its permissions.",
        ) from None
    blank = (table.isna() | (table == "")).all(axis=1).to_numpy()
    return table[~blank].reset_index(drop=True), np.flatnonzero(~blank) + 2


def _stamps(table: pd.DataFrame, feed: FileFeed) -> pd.Series:
    if len(feed.time) == 1:
        return table[feed.time[0]]
    parts = [table[c].astype("str").str.strip() for c in feed.time]
    return parts[0].str.cat(parts[1:], sep=" ")


def _from_long(table: pd.DataFrame, feed: FileFeed, line: np.ndarray, _: str) -> pd.DataFrame:
    c = feed.covariates
    ids = table[feed.id] if feed.id else pd.Series(feed.name, index=table.index, dtype="str")
    columns = {"unique_id": ids, "ds": _stamps(table, feed), "y": table[feed.target]}
    columns |= {name: table[name] for name in (*c.static, *c.past, *c.future)}
    columns |= {"known_at": table[feed.known_at]} if feed.known_at else {}
    return pd.DataFrame(columns).assign(line=line)


def _cells(values: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) values and which of them lie between the first and the last value of their column."""
    present = values.notna().to_numpy()
    inside = np.maximum.accumulate(present, 0) & np.maximum.accumulate(present[::-1], 0)[::-1]
    return values.to_numpy(), inside


def _from_wide(table: pd.DataFrame, feed: FileFeed, line: np.ndarray, name: str) -> pd.DataFrame:
    columns = [c for c in table.columns if c not in feed.time and c != feed.id]
    if not columns:
        raise IngestError(
            "COLUMN-MISSING",
            f"{name} has no column beside its time stamp.",
            "Add a column per series.",
        )
    cells, inside = _cells(table[columns])
    column, row = np.nonzero(inside.T)
    return pd.DataFrame(
        {
            "unique_id": pd.Series(np.asarray(columns, dtype=object)[column], dtype="str"),
            "ds": _stamps(table, feed).to_numpy()[row],
            "y": cells[row, column],
            "line": line[row],
        }
    )


def _from_wide_rows(table: pd.DataFrame, feed: FileFeed, line: np.ndarray, _: str) -> pd.DataFrame:
    """Rows are series without stamps: position k becomes ``start`` + k steps."""
    cells, inside = _cells(table.drop(columns=[feed.id]).T)
    # leading blanks are gaps: the position tells the time
    inside = np.maximum.accumulate(inside[::-1], 0)[::-1]
    series, position = np.nonzero(inside.T)
    axis = start_axis(feed, cells.shape[0])
    return pd.DataFrame(
        {
            "unique_id": table[feed.id].to_numpy()[series],
            "ds": axis.to_numpy()[position],
            "y": cells[position, series],
            "line": line[series],
        }
    )


def start_axis(feed: FileFeed, periods: int) -> pd.DatetimeIndex:
    """Stamps that a feed without stamps is given: ``start``, then step by step.

    Raises:
        IngestError: START if ``start`` is no time, or none of the frequency's stamps.
    """
    step = calendar.offset(feed.frequency)
    try:
        start = pd.Timestamp(str(feed.start))
        axis = pd.date_range(start, periods=periods, freq=step).as_unit("us")
    except ValueError as error:
        raise IngestError(
            "START", f"`start: {feed.start}` is no time ({error}).", "Write it like 2000-01-01."
        ) from None
    if axis[0] != start:
        raise IngestError(
            "START",
            f"`start: {feed.start}` is no stamp of a {feed.frequency} axis; the next one is {axis[0]}.",
            "Correct `start` or `frequency` in the source recipe.",
        )
    return axis
