"""A scoring job: everything a process needs to forecast a part of the series, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SERIES = 4096  # most that a shard holds, about: its memory does not depend on how many there are
FEW = 512  # fewest, about
SHARDS = 16  # of these a run of some thousands has as many, for several workers to end together


def number_of_shards(series: int) -> int:
    """Shards of a run over so many series."""
    return max(1, -(-series // SERIES), min(SHARDS, series // FEW))


@dataclass(frozen=True)
class Job:
    """What is scored, by what, and where parts go. Plain values only: it travels as JSON.

    Attributes:
        source, run_key: of the run.
        package: folder of the champion's package; it must have the digest that ``provenance`` names.
        panel: folder of the snapshot's panel.
        parts: folder or fsspec address in which parts are written.
        shards: how many there are.
        token: of the lease; part of the name of each part.
        fallback: what becomes of a series that the model cannot forecast: seasonal_naive | quarantine.
        provenance: columns that every row carries: model_name, model_version, model_digest, data_hash, run_key,
            scored_at (ISO, UTC).
        device, precision: as in :class:`gatecast.scoring.config.Score`, ``auto`` resolved.
        threads: CPU threads of a process.
    """

    source: str
    run_key: str
    package: str
    panel: str
    parts: str
    shards: int
    token: int
    fallback: str
    provenance: dict[str, Any]
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1


@dataclass(frozen=True)
class Part:
    """What became of a shard: its file, and what is in it.

    Attributes:
        shard, shards: number of the shard, from 0, and how many there are.
        name, rows, bytes, sha256: of the file.
        series: of the shard, quarantined ones included.
        fallbacks: series that seasonal naive forecast.
        quarantined: (unique_id, reason) of series that are not in the file.
        stale: series whose last value is more than a horizon older than the newest of all.
        short: series with fewer known values than a season.
        without_known_covariates: series that lack a value of a covariate known ahead.
    """

    shard: int
    shards: int
    name: str
    rows: int
    bytes: int
    sha256: str
    series: int
    fallbacks: int
    quarantined: list[list[str]]
    stale: int
    short: int
    without_known_covariates: int
