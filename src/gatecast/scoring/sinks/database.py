"""Forecasts as rows of two tables: what the sinks of all databases share.

    gatecast_runs        one row per published run: its manifest, with the long members in a column of their own
    gatecast_forecasts   one row per forecast: the columns of a shard file, and ``source``

Shard files are staged as Parquet in ``data/scoring/parts/<source>/<run key>``. Publishing is one transaction: the run
is claimed by its row in ``gatecast_runs``, which only one process can write; its rows replace any that are
there under its key; commit. Then the staged files are removed. Readers see what is committed, and join on the run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatecast.core import failpoints
from gatecast.core.errors import ScoringError
from gatecast.core.forecast import KEYS, PROBABILITY, QuantileForecast
from gatecast.scoring import shard_files
from gatecast.scoring.sinks.base import DETAIL, facts

RUNS, FORECASTS = "gatecast_runs", "gatecast_forecasts"
STAGED = Path("data/scoring/parts")

TEXT, INSTANT = pa.large_string(), pa.timestamp("us", "UTC")
_UNIQUE, _CUTOFF, _DS, _STEP = KEYS
COLUMNS: dict[str, pa.DataType] = {  # of a shard file; times have the source's zone there, or none
    _UNIQUE: TEXT,
    _CUTOFF: INSTANT,
    _DS: INSTANT,
    _STEP: pa.int32(),
    **dict.fromkeys(QuantileForecast.columns, pa.float32()),
    PROBABILITY: pa.float32(),
    "fallback": TEXT,
    "model_name": TEXT,
    "model_version": pa.int64(),
    "model_digest": TEXT,
    "data_hash": TEXT,
    "run_key": TEXT,
    "scored_at": INSTANT,
    # Which event the probabilities are of; null in runs of quantiles.
    "event": TEXT,
}
_LATER = ("event",)  # columns that tables of earlier versions lack; added when a run has them
_SQL = {
    TEXT: "text",
    INSTANT: "timestamp with time zone",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
}
_KEYS = {RUNS: ("source", "run_key"), FORECASTS: ("source", "run_key", _UNIQUE, _STEP)}
TABLES: dict[str, dict[str, str]] = {  # table -> column -> SQL type
    RUNS: {
        "source": "text",
        "run_key": "text",
        "cutoff": "text",
        "revision": "integer",
        "scored_at": "timestamp with time zone",
        "timezone": "text",
        "columns": "text",
        "manifest": "json",
        "detail": "json",
    },
    FORECASTS: {"source": "text"} | {name: _SQL[kind] for name, kind in COLUMNS.items()},
}
_SAME = {"varchar": "text", "float": "real"}  # another name of a type


class Database(Protocol):
    """An open transaction. Parameters are ``$1``, ``$2``, …"""

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its result."""

    def load(self, source: str, files: Sequence[Path]) -> int:
        """Add the rows of shard files; how many they were."""

    def read(self, columns: Sequence[str], source: str, key: str) -> pa.Table:
        """Rows of a published run, by series and step; times are in UTC."""


class DatabaseSink(ABC):
    """A sink whose runs are rows; see the module's docstring."""

    indexes: tuple[str, ...] = ()  # statements that make them
    # A statement that locks the creation of tables until the transaction ends; None: not needed.
    creation_lock: str | None = None

    @abstractmethod
    def begin(self, write: bool = False) -> AbstractContextManager[Database]:
        """A transaction, committed at the end of the block unless it raises.

        Raises:
            ScoringError: UNREACHABLE, BUSY, DRIVER; WRITE or READ for whatever else the database says.
        """

    @abstractmethod
    def name(self) -> str:
        """The database, for people: without a password."""

    def stored(self, text: str) -> str:
        """A text as the database can store it."""
        return text

    def returned(self, text: str) -> str:
        """A text that was stored, as it was before."""
        return text

    def add_column(self, database: Database, statement: str) -> None:
        """Run the statement that adds a column to a table of an earlier version.

        Raises:
            ScoringError: BUSY if others use the table.
        """
        database.rows(statement)

    def shard_address(self, source: str, key: str) -> str:
        return str(STAGED / source / key)

    def where(self, source: str, key: str) -> str:
        return f"{self.name()}, run {key} of {source}" if key else self.name()

    def publish(self, source: str, key: str, manifest: dict[str, Any]) -> None:
        folder = Path(self.shard_address(source, key))
        with self.begin(write=True) as database:
            self._prepare(database, manifest)
        with self.begin(write=True) as database:
            if self._claim(database, source, key, manifest):
                failpoints.reach("loading: run claimed")
                self._load(database, folder, source, key, manifest)
                failpoints.reach("loading: rows loaded")
        failpoints.reach("loading: committed")
        shutil.rmtree(folder, ignore_errors=True)
        self._tidy(source)

    def forget(self, source: str, key: str) -> None:
        return  # the rows themselves are the list

    def find(self, source: str, key: str) -> dict[str, Any] | None:
        where = "WHERE source = $1 AND run_key = $2"
        manifests = self._manifests(("manifest", "detail"), where, source, key)
        return manifests[0] if manifests else None

    def manifests(self, source: str | None = None) -> list[dict[str, Any]]:
        chosen = ("WHERE source = $1", source) if source else ("",)
        manifests = self._manifests(("manifest",), *chosen)
        return sorted(manifests, key=lambda m: (m["scored_at"], m["run_key"]))

    def read(self, manifest: dict[str, Any]) -> pd.DataFrame:
        return self._frame(manifest)

    def pieces(self, manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        yield self._frame(manifest, columns)

    def _frame(self, manifest: dict[str, Any], asked: Sequence[str] | None = None) -> pd.DataFrame:
        source, key = manifest["source"], manifest["run_key"]
        query = f"SELECT columns, timezone FROM {RUNS} WHERE source = $1 AND run_key = $2"
        with self.begin() as database:
            columns, zone = next(iter(database.rows(query, source, key)), ("", None))
            wanted = asked or columns.split(",")
            table = database.read(wanted, source, key) if columns else pa.table({})
        if table.num_rows != manifest["rows"]:
            what = f"{self.where(source, key)} has {table.num_rows:,} rows; {manifest['rows']:,} were published."
            fix = f"Delete its row in {RUNS}, then score the same feed again."
            raise ScoringError("CORRUPT", what, fix)
        zones = {_CUTOFF: zone, _DS: zone}
        schema = [
            (
                name,
                pa.timestamp("us", zones.get(name)) if COLUMNS[name] == INSTANT else COLUMNS[name],
            )
            for name in table.column_names
        ]
        return shard_files.frame([table.cast(pa.schema(schema))])

    def _manifests(self, columns: Sequence[str], chosen: str, *values: str) -> list[dict[str, Any]]:
        """What some columns hold of a manifest, of each chosen run."""
        with self.begin() as database:
            if not (there := _columns(database, RUNS)):
                return []
            self._same(RUNS, there)
            texts = ", ".join(f"CAST({name} AS text)" for name in columns)
            rows = database.rows(f"SELECT {texts} FROM {RUNS} {chosen}", *values)
        return [self._decoded(*row) for row in rows]

    def _encoded(self, content: dict[str, Any]) -> str:
        return json.dumps(_mapped(content, self.stored), allow_nan=False)

    def _decoded(self, *texts: str) -> dict[str, Any]:
        content = {name: value for text in texts for name, value in json.loads(text).items()}
        return dict(_mapped(content, self.returned))

    def _prepare(self, database: Database, manifest: dict[str, Any]) -> None:
        """Make what a run needs and is not there, and check what is.

        Raises:
            ScoringError: SCHEMA.
        """
        missing = [table for table in TABLES if not _columns(database, table)]
        if missing and self.creation_lock:
            database.rows(self.creation_lock)
        for table, wanted in TABLES.items():
            if columns := _columns(database, table):
                self._same(table, columns)
                for name in (
                    n for n in _LATER if n in wanted and n in manifest and n not in columns
                ):
                    self.add_column(
                        database,
                        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {wanted[name]}",
                    )
            else:
                database.rows(_definition(table, wanted))
        if missing:
            for index in self.indexes:
                database.rows(index)

    def _same(self, table: str, columns: dict[str, str]) -> None:
        """Raise SCHEMA unless a table has the columns that it should have."""
        wrong = [
            f"{name} is {columns.get(name, 'not there')}, not {kind}"
            for name, kind in TABLES[table].items()
            if columns.get(name) != kind and (name in columns or name not in _LATER)
        ]
        if wrong:
            raise ScoringError(
                "SCHEMA",
                f"table {table} of {self.name()} is not gatecast's: {'; '.join(wrong)}. Nothing was published.",
                "Rename it (ALTER TABLE … RENAME TO …), or give the sink a database or schema of its own.",
            )

    def _claim(self, database: Database, source: str, key: str, manifest: dict[str, Any]) -> bool:
        """Write the run's row; false if there is one."""
        row = {
            "source": source,
            "run_key": key,
            "cutoff": manifest.get("cutoff"),
            "revision": manifest.get("revision", 1),
            "scored_at": manifest["scored_at"],
            "manifest": self._encoded(facts(manifest)),
            "detail": self._encoded({k: manifest[k] for k in DETAIL if k in manifest}),
        }
        marks = ", ".join(f"${k}" for k in range(1, len(row) + 1))
        claim = f"INSERT INTO {RUNS} ({', '.join(row)}) VALUES ({marks})"
        query = f"{claim} ON CONFLICT (source, run_key) DO NOTHING RETURNING run_key"
        return bool(database.rows(query, *row.values()))

    def _load(
        self, database: Database, folder: Path, source: str, key: str, manifest: dict[str, Any]
    ) -> None:
        """Load the staged files, replacing any rows under the run's key."""
        files = [_checked(folder, file) for file in manifest["parts"]]
        schema = pq.read_schema(files[0])
        zone = getattr(schema.field(_DS).type, "tz", None)
        database.rows(
            f"UPDATE {RUNS} SET timezone = $1, columns = $2 WHERE source = $3 AND run_key = $4",
            zone,
            ",".join(schema.names),
            source,
            key,
        )
        database.rows(f"DELETE FROM {FORECASTS} WHERE source = $1 AND run_key = $2", source, key)
        rows = database.load(source, files)
        if rows != manifest["rows"]:
            what = f"{rows:,} rows came to {self.name()} of {manifest['rows']:,}. Nothing was published."
            raise ScoringError("WRITE", what, "Score again.")

    def _tidy(self, source: str) -> None:
        """Remove staged files of published runs, whose process died before it could."""
        for folder in (STAGED / source).glob("*"):
            if self.find(source, folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def _columns(database: Database, table: str) -> dict[str, str]:
    """Columns of a table and their SQL types; none if there is no such table."""
    query = """SELECT column_name, data_type FROM information_schema.columns
        WHERE table_catalog = current_database() AND table_schema = current_schema() AND table_name = $1"""
    kinds = ((name, kind.lower()) for name, kind in database.rows(query, table))
    return {name: _SAME.get(kind, kind) for name, kind in kinds}


def _definition(table: str, columns: dict[str, str]) -> str:
    must = dict.fromkeys(_KEYS[table], " NOT NULL")
    every = [f'"{name}" {kind}{must.get(name, "")}' for name, kind in columns.items()]
    if table == RUNS:
        every.append(f"PRIMARY KEY ({', '.join(_KEYS[table])})")
    return f"CREATE TABLE {table} ({', '.join(every)})"


def _checked(folder: Path, file: dict[str, Any]) -> Path:
    """Path of a staged file.

    Raises:
        ScoringError: CORRUPT unless it is what the manifest says.
    """
    path = folder / file["name"]
    try:
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        digest = "none: there is no such file"
    if digest != file["sha256"]:
        what = f"the staged file {path} is not what was written: its sha256 is {digest}. Nothing was published."
        raise ScoringError("CORRUPT", what, "Score again: it is computed anew.")
    return path


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with each text changed but the names of an object's members."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value
