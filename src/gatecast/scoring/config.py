"""Settings of a scoring run, and what a sink recipe says."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gatecast.core.schema import Schema, Text, refuse, require
from gatecast.core.span import Span


class Score(Schema):
    """A scoring run: when it may be published, and by what it is computed."""

    min_success_fraction: float = Field(default=0.95, ge=0, le=1)
    """Share of the series that the model itself must forecast, else nothing is published."""

    fallback: Literal["seasonal_naive", "quarantine"] = "seasonal_naive"
    """What becomes of a series that it cannot forecast; quarantine: not in the table, listed in the manifest."""

    engine: Literal["local", "ray"] = "local"
    """What computes it: processes of this machine, or a Ray cluster."""

    workers: int | None = Field(default=None, ge=1)
    """Processes of the engine (local: this one among them); null: the cores that it may use."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """auto: a GPU if there is one; one process then feeds it."""

    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """bf16-mixed pays where the hardware has it."""

    show: list[Text] = Field(default_factory=list)
    """Ids of series that the page of a run draws in any case."""

    max_age: Span | None = None
    """Oldest newest value of a feed that is scored, like 2D: an older feed is an error (null: only a remark, once all
    steps of the forecast are past)."""

    snapshots: int = Field(default=10, ge=1)
    """How many snapshots of ingested feeds are kept in data/scoring, of each source."""


class SinkSettings(Schema):
    """A sink recipe: where forecasts are published."""

    kind: Literal["parquet", "duckdb", "postgres"] = "parquet"
    """What they are written as."""

    address: str = "forecasts"
    """A folder or any fsspec address; a DuckDB file; postgresql://user@host/database."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.kind == "postgres" and not self.address:
            raise refuse(
                "ADDRESS",
                "no database is named: the environment has no GATECAST_SINK_URI",
                "export GATECAST_SINK_URI=postgresql://user@host:5432/database (its password: PGPASSWORD or ~/.pgpass)",
            )
        require(bool(self.address), "address", "", "a folder or an address")
        return self
