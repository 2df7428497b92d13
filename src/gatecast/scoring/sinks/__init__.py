"""Sinks: where forecasts are published. What is published is whole, and never changes.

    sink = sinks.sink(recipe)
    sink.shard_address(source, key)         # workers write its shard files there
    sink.publish(source, key, manifest)     # one atomic step: the run is visible
    sink.read(manifest)                     # its table

A new sink is a module beside ``parquet.py`` with a class that follows :class:`Sink`, a line in ``SINKS`` here, and its
name among the choices of ``kind`` in ``scoring/config.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from gatecast.scoring.config import SinkSettings
from gatecast.scoring.sinks.base import DETAIL, Sink, facts
from gatecast.scoring.sinks.duckdb import DuckdbSink
from gatecast.scoring.sinks.parquet import ParquetSink
from gatecast.scoring.sinks.postgres import PostgresSink

__all__ = ["DETAIL", "SINKS", "Sink", "at", "facts", "sink"]

SINKS: dict[str, Callable[[str], Sink]] = {
    "parquet": ParquetSink,
    "duckdb": DuckdbSink,
    "postgres": PostgresSink,
}


def sink(recipe: SinkSettings) -> Sink:
    """The sink of a recipe."""
    return SINKS[recipe.kind](recipe.address)


def at(address: str) -> Sink:
    """The sink at an address: ``postgresql://…``, a DuckDB file by its ending, else Parquet."""
    if address.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
        return PostgresSink(address)
    if address.endswith((".duckdb", ".ddb")):
        return DuckdbSink(address)
    return ParquetSink(address)
