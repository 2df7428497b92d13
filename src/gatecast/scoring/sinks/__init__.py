"""Sinks: where forecasts are published. What is published is whole, and never changes.

sink = sinks.sink(recipe)
sink.parts(source, key)                 # workers write the parts of a run there
sink.publish(source, key, manifest)     # one atomic step: the run is visible
sink.read(manifest)                     # its table
"""

from __future__ import annotations

from gatecast.scoring.config import Sink as Recipe
from gatecast.scoring.sinks.base import DETAIL, Sink, facts

__all__ = ["DETAIL", "Sink", "at", "facts", "sink"]


def sink(recipe: Recipe) -> Sink:
    """The sink of a recipe."""
    if recipe.kind == "duckdb":
        from gatecast.scoring.sinks.duckdb import DuckdbSink

        return DuckdbSink(recipe.address)
    if recipe.kind == "postgres":
        from gatecast.scoring.sinks.postgres import PostgresSink

        return PostgresSink(recipe.address)
    from gatecast.scoring.sinks.parquet import ParquetSink

    return ParquetSink(recipe.address)


def at(address: str) -> Sink:
    """The sink at an address: ``postgresql://…``, a DuckDB file by its ending, else Parquet."""
    if address.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
        return sink(Recipe("postgres", address))
    kind = "duckdb" if address.endswith((".duckdb", ".ddb")) else "parquet"
    return sink(Recipe(kind, address))
