"""Forecasts in PostgreSQL: many processes write and read at once; see :mod:`.database`.

Text of PostgreSQL holds every character but NUL. It is stored as ``␀`` (U+2400), and ``␛`` (U+241B) stands before a
``␀`` or ``␛`` that is meant as such: every id comes back as it was. An id may be longer than an index allows: the
index holds its md5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from gatecast.core.errors import ScoringError
from gatecast.scoring import shard_files
from gatecast.scoring.sinks.database import (
    COLUMNS,
    FORECASTS,
    INSTANT,
    RUNS,
    TEXT,
    Database,
    DatabaseSink,
)

if TYPE_CHECKING:
    import psycopg

PATIENCE = 600  # seconds to wait for another process that is loading the same run
# Seconds to wait for readers of a table that gets a new column: while this process waits, so do all that come later.
_ALTER = 10
_CONNECT = 10  # seconds to wait for the server
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL lock_timeout = '{}s'"
)
_ESCAPES = (("␛", "␛␛"), ("␀", "␛␀"), ("\0", "␀"))  # in this order


class PostgresSink(DatabaseSink):
    """See the module's docstring.

    Args:
        address: ``postgresql://user@host/database``; the password may stand in it, in ``PGPASSWORD`` or in
            ``~/.pgpass``.
    """

    indexes = (
        f"CREATE UNIQUE INDEX IF NOT EXISTS {FORECASTS}_key ON {FORECASTS}"
        " (source, run_key, (CAST(md5(unique_id) AS uuid)), step)",
    )
    creation_lock = "SELECT pg_advisory_xact_lock(hashtext('gatecast tables'))"

    def __init__(self, address: str) -> None:
        self.address = address.replace("postgresql+psycopg://", "postgresql://", 1)

    def name(self) -> str:
        facts = self._facts()
        host, port = facts.get("host", "localhost"), facts.get("port", "5432")
        return f"postgresql://{host}:{port}/{facts.get('dbname', '')}"

    def stored(self, text: str) -> str:
        for plain, escaped in _ESCAPES:
            text = text.replace(plain, escaped)
        return text

    def returned(self, text: str) -> str:
        return _returned(text)

    def add_column(self, database: Database, statement: str) -> None:
        import psycopg

        database.rows(f"SET LOCAL lock_timeout = '{_ALTER}s'")
        try:
            database.rows(statement)
        except psycopg.errors.LockNotAvailable:
            what = (
                f"a table in {self.name()} needs a new column, but has been in use for {_ALTER} seconds."
                " Nothing was published."
            )
            fix = f"End what reads it (SELECT * FROM pg_stat_activity) and score again, or run by hand: {statement};"
            raise ScoringError("BUSY", what, fix) from None
        database.rows(f"SET LOCAL lock_timeout = '{PATIENCE}s'")

    @contextmanager
    def begin(self, write: bool = False) -> Iterator[_Transaction]:
        import psycopg

        facts, name = self._facts(), self.name()
        try:
            connection = psycopg.connect(
                **facts, cursor_factory=psycopg.RawCursor, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise _unreachable(name, error) from None
        try:
            with connection:  # committed at the end of the block unless it raises
                connection.execute(_SETTINGS.format(PATIENCE).encode())
                yield _Transaction(connection)
        except psycopg.errors.LockNotAvailable:
            what = f"another process has been publishing the same run to {name} for {PATIENCE} seconds."
            fix = "Look for it (SELECT * FROM pg_stat_activity), end it, and run the command again."
            raise ScoringError("BUSY", what, fix) from None
        except psycopg.Error as error:
            if connection.broken:
                raise _unreachable(name, error) from None
            if write:
                what = f"the forecasts cannot be written to {name}: {_first(error)}. Nothing was published."
                fix = "Correct what it says, then score again: the shard files stay staged."
                raise ScoringError("WRITE", what, fix) from None
            what = f"{name} cannot be read: {_first(error)}"
            fix = f"This user needs the right to SELECT from {RUNS} and {FORECASTS}."
            raise ScoringError("READ", what, fix) from None

    def _facts(self) -> dict[str, Any]:
        """What to connect with."""
        try:
            import psycopg.conninfo
        except ImportError:
            what = "forecasts in PostgreSQL need the package psycopg, which is not installed."
            raise ScoringError("DRIVER", what, "pip install 'gatecast[postgres]'") from None
        try:
            given = psycopg.conninfo.conninfo_to_dict(self.address)
        except psycopg.Error:  # its message shows the address, and what is secret in it
            what = "the sink's address is not one of a PostgreSQL database."
            fix = "Write GATECAST_SINK_URI=postgresql://user@host:5432/database"
            raise ScoringError("ADDRESS", what, fix) from None
        ours = {"connect_timeout": _CONNECT, "application_name": "gatecast"}
        return ours | given | {"client_encoding": "utf8"}


class _Transaction:
    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def load(self, source: str, files: Sequence[Path]) -> int:
        return sum(self._copy(source, shard_files.decode(file.read_bytes())) for file in files)

    def _copy(self, source: str, table: pa.Table) -> int:
        for name in ("cutoff", "ds", "scored_at"):
            table = _replaced(table, name, table[name].cast(INSTANT))
        ids = table["unique_id"]
        for plain, escaped in _ESCAPES:
            ids = pc.replace_substring(ids, plain, escaped)
        table = _replaced(table, "unique_id", ids)
        table = table.append_column("source", pa.repeat(source, table.num_rows))
        names = ", ".join(f'"{name}"' for name in table.column_names)
        with self.connection.cursor() as cursor:
            query = f"COPY {FORECASTS} ({names}) FROM STDIN (FORMAT csv)"
            with cursor.copy(query.encode()) as copy:
                csv.write_csv(table, _Stream(copy), csv.WriteOptions(include_header=False))
            return cursor.rowcount

    def read(self, columns: Sequence[str], source: str, key: str) -> pa.Table:
        from psycopg import sql

        instants = [name for name in columns if COLUMNS[name] == INSTANT]
        names = ", ".join(
            f"f.\"{name}\" AT TIME ZONE 'UTC'" if name in instants else f'f."{name}"'
            for name in columns
        )
        query = sql.SQL(
            f"COPY (SELECT {names} FROM {FORECASTS} f JOIN {RUNS} r USING (source, run_key)"
            ' WHERE r.source = {} AND r.run_key = {} ORDER BY f.unique_id COLLATE "C", f.step)'
            " TO STDOUT (FORMAT csv)"
        ).format(source, key)
        data = BytesIO()
        with self.connection.cursor() as cursor, cursor.copy(query) as copy:
            for block in copy:
                data.write(block)
        if not data.tell():
            return pa.table({name: pa.array([], COLUMNS[name]) for name in columns})
        data.seek(0)
        naive = dict.fromkeys(instants, pa.timestamp("us"))
        table = csv.read_csv(
            data,
            csv.ReadOptions(column_names=list(columns)),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types={name: naive.get(name, COLUMNS[name]) for name in columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for name in instants:
            table = _replaced(table, name, table[name].cast(INSTANT))
        if "unique_id" not in columns:
            return table
        coded = table["unique_id"].combine_chunks().dictionary_encode()
        ids = pa.array([_returned(text) for text in coded.dictionary.to_pylist()], TEXT)
        return _replaced(table, "unique_id", ids.take(coded.indices))


class _Stream:
    """What pyarrow writes, to the server."""

    closed = False

    def __init__(self, copy: psycopg.Copy) -> None:
        self.copy = copy

    def write(self, data: bytes) -> int:
        self.copy.write(data)
        return len(data)

    def flush(self) -> None: ...


def _returned(text: str) -> str:
    return re.sub("␛(.)|␀", lambda found: found[1] or "\0", text)


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def _unreachable(name: str, error: Exception) -> ScoringError:
    return ScoringError(
        "UNREACHABLE",
        f"{name} does not answer: {_first(error)}",
        "Start the database or correct GATECAST_SINK_URI, then run the command again: shards that were forecast"
        " stay staged, and are used then.",
    )


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
