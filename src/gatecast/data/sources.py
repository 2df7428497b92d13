"""Raw feeds: finding the files, noting what they are, reading them into one long table.

Three layouts become one: ``long`` (a row per observation), ``wide`` (a column per series) and ``wide_rows``
(a row per series). The table that leaves this module keeps the file and line of every observation, so that
an error can say where to look. Nothing is checked here but that the files and columns exist.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatecast.config import Feed, RawFile, data_dir
from gatecast.errors import IngestError, did_you_mean

RAW = Path("data/raw")
RESERVED = ("unique_id", "ds", "y", "file", "line")
NA = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


@dataclass(frozen=True)
class Located:
    """A raw file that was found: the name the recipe gives it, and where it lies."""

    name: str
    address: str

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith((".parquet", ".pq"))


def locate(file: RawFile) -> list[Located]:
    """Find the file(s) of a recipe entry: data folder, ``data/raw``, project folder, then download.

    Raises:
        IngestError: FILE-MISSING, FILE-HASH or SCHEME, with what to do.
    """
    if "://" in file.path:
        return _locate_remote(file)
    tried = []
    for base in (data_dir(), RAW, Path()):
        if base is None:
            continue
        matches = (
            sorted(base.glob(file.path))
            if not Path(file.path).is_absolute()
            else _absolute(file.path)
        )
        found = [m for m in matches if m.is_file()]
        if found:
            located = [
                Located(m.name if len(found) == 1 else str(m.relative_to(base)), str(m))
                for m in found
            ]
            _check_hash(file, located)
            return located
        tried.append(str(base / file.path))
    if file.url:
        located = [_download(file)]
        _check_hash(file, located)
        return located
    raise IngestError(
        "FILE-MISSING",
        f"there is no file {file.path} (looked at: {', '.join(tried)}).",
        "Put it there, set GATECAST_DATA_DIR to the folder that holds it, or correct `files` in the source recipe.",
    )


def _absolute(path: str) -> list[Path]:
    whole = Path(path)
    anchor = Path(whole.anchor)
    return sorted(anchor.glob(str(whole.relative_to(anchor))))


def _locate_remote(file: RawFile) -> list[Located]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(file.path)
        matches = (
            sorted(fs.glob(path))
            if any(c in path for c in "*?[")
            else [path]
            if fs.exists(path)
            else []
        )
    except ImportError as error:
        raise IngestError(
            "SCHEME", f"{file.path}: {error}", "Install the package it names into .venv."
        ) from None
    except (OSError, ValueError) as error:
        raise IngestError(
            "FILE-MISSING",
            f"{file.path} cannot be reached: {error}",
            "Check the address and the credentials.",
        ) from None
    if not matches:
        raise IngestError(
            "FILE-MISSING",
            f"there is no file at {file.path}.",
            "Correct `files` in the source recipe.",
        )
    located = [Located(str(m).rsplit("/", 1)[-1], str(fs.unstrip_protocol(m))) for m in matches]
    _check_hash(file, located)
    return located


def _download(file: RawFile) -> Located:
    """Fetch a public file into ``data/raw`` (whole or not at all)."""
    import shutil
    import tempfile
    import urllib.error
    import urllib.request

    RAW.mkdir(parents=True, exist_ok=True)
    target = RAW / file.path
    print(f"downloading {file.url}")
    try:
        with (
            urllib.request.urlopen(str(file.url), timeout=60) as response,
            tempfile.NamedTemporaryFile(dir=RAW, delete=False) as out,
        ):
            shutil.copyfileobj(response, out)
    except (urllib.error.URLError, OSError) as error:
        raise IngestError(
            "OFFLINE",
            f"{file.path} is not here, and {file.url} cannot be reached ({error}).",
            f"Put the file into data/raw/, or set GATECAST_DATA_DIR to a folder that holds {file.path}.",
        ) from None
    arrived = Path(out.name)
    if file.sha256 and _sha256(str(arrived)) != file.sha256:
        arrived.unlink()
        raise _hash_error(file, str(file.url))
    arrived.replace(target)
    return Located(file.path, str(target))


def _open(address: str) -> Any:
    import fsspec

    return fsspec.open(address, "rb").open() if "://" in address else open(address, "rb")


def _sha256(address: str) -> str:
    with _open(address) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _hash_error(file: RawFile, where: str) -> IngestError:
    return IngestError(
        "FILE-HASH",
        f"{where} is not the file that the recipe names: its sha256 differs.",
        f"Fetch {file.path} again, or correct `sha256` in the recipe if the new file is meant.",
    )


def _check_hash(file: RawFile, located: list[Located]) -> None:
    if file.sha256:
        for found in located:
            if _sha256(found.address) != file.sha256:
                raise _hash_error(file, found.address)


def fingerprint(feed: Feed, as_of: str | None) -> dict[str, Any]:
    """What the raw feed is now: name, size and sha256 of every file. Holds no path of this machine."""
    entries: list[dict[str, Any]] = []
    for file in feed.files:
        for found in locate(file):
            with _open(found.address) as handle:
                handle.seek(0, 2)
                size = handle.tell()
            entries.append({"name": found.name, "bytes": size, "sha256": _sha256(found.address)})
    if feed.kind == "demo":
        from gatecast.data import demo

        entries.append(
            {"name": "demo", "version": demo.VERSION, "as_of": as_of or str(demo.end(feed.demo))}
        )
    return {"source": feed.name, "as_of": as_of, "files": entries}


def read(feed: Feed, as_of: str | None = None, horizon: int = 0) -> pd.DataFrame:
    """Read the whole raw feed.

    Args:
        feed: the source recipe.
        as_of: the demo generates its history up to here (other feeds are cut by the contract).
        horizon: steps of known covariates that the demo adds after its last observation.

    Returns:
        Long table: ``unique_id`` (str), ``ds`` (text or datetime), ``y``, the covariates, ``file``, ``line``.
    """
    if feed.kind == "demo":
        from gatecast.data import demo

        return demo.generate(feed.demo, as_of, horizon)
    parts = [_read_one(found, feed) for file in feed.files for found in locate(file)]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def read_actuals(feed: Feed) -> pd.DataFrame | None:
    """The recipe's ``actuals`` file in the same shape as :func:`read`, or None if it names none."""
    if feed.actuals is None:
        return None
    parts = [_read_one(found, feed) for found in locate(feed.actuals)]
    return pd.concat(parts, ignore_index=True)


def _read_one(found: Located, feed: Feed) -> pd.DataFrame:
    wanted = _wanted(feed)
    table = _parquet(found, feed) if found.is_parquet else _csv(found, feed, wanted)
    missing = [c for c in wanted if c not in table.columns]
    if missing:
        raise IngestError(
            "COLUMN-MISSING",
            f"{found.name} has no column '{missing[0]}'.{did_you_mean(missing[0], map(str, table.columns))}",
            f"Its columns: {', '.join(map(str, table.columns[:20]))}. Correct the recipe or the file.",
        )
    if table.empty:
        raise IngestError(
            "EMPTY-FILE",
            f"{found.name} has no rows.",
            "Deliver a file with data, or correct `files` in the recipe.",
        )
    line = np.arange(len(table)) + (1 if found.is_parquet else 2)
    if feed.layout == "long":
        out = _from_long(table, feed, line)
    elif feed.layout == "wide":
        out = _from_wide(table, feed, line)
    else:
        out = _from_wide_rows(table, feed, line)
    out["file"] = pd.Categorical.from_codes(np.zeros(len(out), np.int8), [found.name])
    return out


def _wanted(feed: Feed) -> list[str]:
    """Columns of the raw file that the recipe names."""
    c = feed.covariates
    wanted = [feed.id] if feed.id else []
    wanted += feed.time if feed.layout != "wide_rows" else []
    if feed.layout == "long":
        wanted += [feed.target, *c.static, *c.past, *c.future]
        clash = [x for x in (*c.static, *c.past, *c.future) if x in RESERVED]
        if clash:
            raise IngestError(
                "RESERVED",
                f"a covariate cannot be called '{clash[0]}'.",
                "Rename the column in the feed.",
            )
    return wanted


def _parquet(found: Located, feed: Feed) -> pd.DataFrame:
    import pyarrow as pa

    try:
        with _open(found.address) as handle:
            table = pd.read_parquet(handle)
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(
            "FILE-READ",
            f"{found.name} is no readable Parquet file: {error}",
            "Deliver the file again.",
        ) from None
    return table.iloc[: feed.rows] if feed.rows else table


def _csv(found: Located, feed: Feed, wanted: list[str]) -> pd.DataFrame:
    names = ([feed.id] if feed.id else []) + feed.time + feed.covariates.categorical
    try:
        with _open(found.address) as handle:
            header = list(
                pd.read_csv(handle, sep=feed.separator, nrows=0, encoding="utf-8-sig").columns
            )
        values = [c for c in header if c not in names]
        with _open(found.address) as handle:
            return pd.read_csv(
                handle,
                sep=feed.separator,
                decimal=feed.decimal,
                nrows=feed.rows,
                usecols=[c for c in header if c in wanted] if feed.layout == "long" else None,
                dtype=dict.fromkeys([c for c in names if c in header], "str"),
                keep_default_na=False,
                na_values=dict.fromkeys(
                    [*values, *feed.covariates.categorical], NA + feed.na_values
                ),
                encoding="utf-8-sig",
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        raise IngestError(
            "EMPTY-FILE", f"{found.name} is empty.", "Deliver a file with a header line and data."
        ) from None
    except pd.errors.ParserError as error:
        raise IngestError(
            "CSV-SHAPE",
            f"{found.name} is no regular CSV file: {error}.",
            "Correct the line, or `separator` in the recipe.",
        ) from None
    except UnicodeDecodeError as error:
        raise IngestError(
            "ENCODING", f"{found.name} is not UTF-8 text ({error}).", "Save it as UTF-8."
        ) from None
    except OSError as error:
        raise IngestError(
            "FILE-READ",
            f"{found.name} cannot be read: {error}.",
            "Check the file and its permissions.",
        ) from None


def _stamps(table: pd.DataFrame, feed: Feed) -> pd.Series:
    if len(feed.time) == 1:
        return table[feed.time[0]]
    parts = [table[c].astype("str").str.strip() for c in feed.time]
    return parts[0].str.cat(parts[1:], sep=" ")


def _from_long(table: pd.DataFrame, feed: Feed, line: np.ndarray) -> pd.DataFrame:
    c = feed.covariates
    ids = table[feed.id] if feed.id else pd.Series(feed.name, index=table.index, dtype="str")
    columns = {"unique_id": ids, "ds": _stamps(table, feed), "y": table[feed.target]}
    columns |= {name: table[name] for name in (*c.static, *c.past, *c.future)}
    return pd.DataFrame(columns).assign(line=line)


def _cells(values: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) values and which of them lie between the first and the last value of their column."""
    present = values.notna().to_numpy()
    inside = np.maximum.accumulate(present, 0) & np.maximum.accumulate(present[::-1], 0)[::-1]
    return values.to_numpy(), inside


def _from_wide(table: pd.DataFrame, feed: Feed, line: np.ndarray) -> pd.DataFrame:
    columns = [c for c in table.columns if c not in feed.time and c != feed.id]
    if not columns:
        raise IngestError(
            "COLUMN-MISSING",
            "the wide table has no column beside its time stamp.",
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


def _from_wide_rows(table: pd.DataFrame, feed: Feed, line: np.ndarray) -> pd.DataFrame:
    """Rows are series without stamps: position k becomes ``start`` + k steps."""
    from gatecast.data.calendar import offset

    cells, inside = _cells(table.drop(columns=[feed.id]).T)
    inside = np.maximum.accumulate(inside[::-1], 0)[
        ::-1
    ]  # leading blanks are gaps: the position tells the time
    series, position = np.nonzero(inside.T)
    axis = pd.date_range(feed.start, periods=cells.shape[0], freq=offset(feed.frequency)).as_unit(
        "us"
    )
    return pd.DataFrame(
        {
            "unique_id": table[feed.id].to_numpy()[series],
            "ds": axis.to_numpy()[position],
            "y": cells[position, series],
            "line": line[series],
        }
    )
