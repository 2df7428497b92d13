"""Everything a command may read, as Hydra composes it. The top level is ``params.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gatecast.data.config import Feed
from gatecast.evaluation.config import Backtest
from gatecast.registry.config import Promote, Registry
from gatecast.schedule.config import Schedule
from gatecast.scoring.config import Score, Sink
from gatecast.training.config import Fit
from gatecast.tuning.config import Search


@dataclass
class Config:
    """Everything a pipeline step may read. The top level is ``params.yaml``."""

    source: str = ""
    seed: int = 1
    as_of: str | None = None
    horizon: int | None = None
    season_length: int | None = None
    trainer: str = "auto"
    tune: str = "default"
    variants: list[str] = field(default_factory=list)
    backtest: Backtest = field(default_factory=Backtest)
    promote: Promote = field(default_factory=Promote)
    registry: Registry = field(default_factory=Registry)
    sink: str = "parquet"
    score: Score = field(default_factory=Score)
    schedule: Schedule = field(default_factory=Schedule)
    feed: Feed | None = None
    model: Any = None  # of `gatecast.models.config.Model`, read by `read_model`
    fit: Fit | None = None
    search: Search | None = None
    storage: Sink | None = None
    variant: str = ""  # name of the chosen model recipe
    check: bool = False  # ingest: report on a feed, write nothing
    fingerprint: bool = False  # ingest: only note which raw files there are
    mode: str = ""  # promote: promote | rollback; score: now | due | backfill; empty: the first
    begin: str | None = None  # score mode=backfill: first time (`from=` on the command line)
    end: str | None = None  # score mode=backfill: last time, a bare date is all of it (`to=`)
    hindcast: bool = False  # score mode=backfill: by the champion of now, not by that of each time
    reason: str = ""  # promote: why it is rolled back, for the ledger
    event: bool = False  # promote mode=rollback, lineage: of the champion, or version, that forecasts an event
    run_key: str | None = None  # lineage, report: of these forecasts
    version: int | None = None  # lineage: of this registered version
    digest: str | None = None  # lineage: of this package
    format: str = "text"  # lineage: text | json
    apply: bool = False  # housekeeping: do it
