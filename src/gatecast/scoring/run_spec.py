"""What a process needs to compute a shard, wherever it runs, and what it reports of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SERIES = 4096  # in a shard at most, about: memory does not depend on how many there are in all
FEW = 512  # in a shard at least, about
SHARDS = 16  # of a run of some thousands of series, so that several workers end together


def number_of_shards(series: int) -> int:
    """Shards of a run over so many series."""
    return max(1, -(-series // SERIES), min(SHARDS, series // FEW))


@dataclass(frozen=True)
class RunSpec:
    """What is scored, by which package, and where the shard files go. Plain values only: it travels between processes.

    Attributes:
        source, run_key: of the run.
        package: folder of the champion's package; it must have the digest that ``provenance`` names.
        panel: folder of the snapshot's panel.
        address: folder or fsspec address of the shard files.
        shards: how many there are.
        token: of the lease; in the name of each shard file.
        fallback: what becomes of a series that the model cannot forecast: seasonal_naive | quarantine.
        provenance: columns that every row carries: model_name, model_version, model_digest, data_hash, run_key,
            scored_at (ISO, UTC); of a run of events also event, in words.
        device, precision: as in :class:`gatecast.scoring.config.Score`, ``auto`` resolved.
        threads: CPU threads of a process.
    """

    source: str
    run_key: str
    package: str
    panel: str
    address: str
    shards: int
    token: int
    fallback: str
    provenance: dict[str, Any]
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1


@dataclass(frozen=True)
class ShardFile:
    """The file of a shard, and what is in it; as JSON, its receipt.

    Attributes:
        shard, shards: number of the shard, from 0, and how many there are.
        name, rows, bytes, sha256: of the file.
        series: of the shard, quarantined ones included.
        fallbacks: series that seasonal naive, or the base rate of an event, forecast.
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
