"""Settings of a scoring run, and what a sink recipe says."""

from __future__ import annotations

from dataclasses import dataclass, field

FALLBACKS = ("seasonal_naive", "quarantine")


ENGINES = ("local", "ray")


SINKS = ("parquet", "duckdb", "postgres")


@dataclass
class Score:
    """A scoring run: when it may be published, and by what it is computed.

    ``min_success_fraction``: share of the series that the model itself must forecast, else nothing is published.
    ``fallback``: what becomes of a series that it cannot forecast: seasonal_naive | quarantine (not in the table,
    listed in the manifest). ``workers``: processes of the engine (local: this one among them); null: the cores that it
    may use. ``device``: cpu | cuda | auto (a GPU if there is one: one process then feeds it). ``precision``: 32-true |
    bf16-mixed, which pays where the hardware has it.
    ``show``: ids of series that the page of a run draws in any case. ``snapshots``: how many of what runs ingested
    are kept in data/scoring, of each source.
    """

    min_success_fraction: float = 0.95
    fallback: str = "seasonal_naive"
    engine: str = "local"
    workers: int | None = None
    device: str = "cpu"
    precision: str = "32-true"
    show: list[str] = field(default_factory=list)
    snapshots: int = 10


@dataclass
class Sink:
    """A sink recipe: where forecasts are published."""

    kind: str = "parquet"
    address: str = "forecasts"  # a folder or any fsspec address; a DuckDB file; postgresql://user@host/database
