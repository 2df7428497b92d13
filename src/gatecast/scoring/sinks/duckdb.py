"""Forecasts in a DuckDB file: an embedded database, one writing process at a time; see :mod:`.database`.

DuckDB reads the staged Parquet files itself. It needs no index: rows of a run lie together, and it skips the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gatecast.core.errors import ScoringError
from gatecast.scoring.sinks.database import FORECASTS, RUNS, DatabaseSink

if TYPE_CHECKING:
    import duckdb

PATIENCE = 60.0  # seconds to wait for another process that has the file open


class DuckdbSink(DatabaseSink):
    """See the module's docstring.

    Args:
        address: the file; it is made by the first run.
    """

    def __init__(self, address: str) -> None:
        self.path = Path(address)

    def name(self) -> str:
        return str(self.path)

    @contextmanager
    def begin(self, write: bool = False) -> Iterator[_Transaction]:
        try:
            import duckdb
        except ImportError:
            what = f"forecasts in {self.path} need the package duckdb, which is not installed."
            raise ScoringError("DRIVER", what, "pip install 'gatecast[duckdb]'") from None
        try:
            connection = self._open(write)
            try:
                connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
                connection.begin()
                yield _Transaction(connection)
                connection.commit()
            finally:
                connection.close()  # what was not committed is undone
        except (duckdb.Error, OSError) as error:
            first = str(error).splitlines()[0]
            if write:
                what = f"the forecasts cannot be written to {self.path}: {first}. Nothing was published."
                fix = "Free the disk, or give this user the right to write there; then score again."
                raise ScoringError("WRITE", what, fix) from None
            what = f"{self.path} cannot be read: {first}"
            raise ScoringError(
                "READ", what, "Is it a DuckDB file, of a version that this duckdb reads?"
            ) from None

    def _open(self, write: bool) -> duckdb.DuckDBPyConnection:
        """Open the file, once no other process writes it.

        Raises:
            ScoringError: BUSY.
        """
        import duckdb

        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.exists():
            return duckdb.connect()  # in memory: nothing is there
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=not write)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                if not any(sign in str(error) for sign in ("lock on file", "configuration than")):
                    raise
                if time.monotonic() > until:
                    raise ScoringError(
                        "BUSY",
                        f"{self.path} is open elsewhere, and DuckDB allows one writing process: {error}",
                        "End that process or close its connection, and run the command again: nothing was lost."
                        " Where many must write and read at once: sink=postgres.",
                    ) from None
            time.sleep(0.1)


class _Transaction:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()

    def load(self, source: str, files: Sequence[Path]) -> int:
        query = f"""INSERT INTO {FORECASTS} BY NAME
            SELECT $1 AS source, * FROM read_parquet($2, hive_partitioning = false)"""
        ((rows,),) = self.rows(query, source, [str(file) for file in files])
        return int(rows)

    def read(self, columns: Sequence[str], source: str, key: str) -> pa.Table:
        names = ", ".join(f'f."{name}"' for name in columns)
        query = f"""SELECT {names} FROM {FORECASTS} f JOIN {RUNS} r USING (source, run_key)
            WHERE r.source = $1 AND r.run_key = $2 ORDER BY f.unique_id, f.step"""
        return self.connection.sql(query, params=[source, key]).to_arrow_table()
