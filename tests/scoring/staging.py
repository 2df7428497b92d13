"""Runs as they lie before a sink publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from gatecast.core.forecast import EventForecast, QuantileForecast
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, Task
from gatecast.data.windows import latest
from gatecast.schedule.config import Schedule
from gatecast.scoring import shard_files
from gatecast.scoring.sinks import Sink
from gatecast.scoring.storage import open_storage

HOSTILE = [
    *("../../x", "a\0b", "\0", "line\nbreak", "🚲", "x" * 4096, "=cmd()"),
    *("__HIVE_DEFAULT_PARTITION__", "é", "e\u0301", " a", "NA", 'a"b', "\\N", "a\n\\.\nb"),
    *("␀", "␛␀", "␛\0␛", "a,b", "'; DROP TABLE gatecast_runs; --", "$1 %s"),
]
POSTGRES, S3 = (pytest.param(name, marks=pytest.mark.slow) for name in ("postgres", "s3"))
DATABASES = ["duckdb", POSTGRES]


class Clocked(NamedTuple):
    """A source, and when it is scored."""

    feed: Feed
    schedule: Schedule


def stage(
    sink: Sink,
    key: str,
    ids: Sequence[str] = ("a", "b"),
    zone: str | None = None,
    seed: int = 0,
    event: bool = False,
    **facts: Any,
) -> dict[str, Any]:
    """Write the two parts of a run as a scoring run does; its manifest."""
    days = pd.date_range("2025-03-28", periods=3, freq="D")
    feed = Feed(name="demo", frequency="D", timezone=zone, task=Task(horizon=2, season_length=1))
    series = pd.Series(sorted(ids), dtype="str").repeat(3)
    known = pd.DataFrame({"unique_id": series, "ds": np.tile(days, len(ids)), "y": 1.0})
    built = build_panel(known, known[["unique_id"]].drop_duplicates(), feed, 2, 1, feasible=False)
    rng = np.random.default_rng(seed)
    manifest = {
        **{"source": "demo", "run_key": key, "model": "gatecast-demo", "version": 1},
        **{"variant": "lstm", "digest": "d" * 64, "cutoff": "2025-03-30", "revision": 1},
        **{"horizon": 2, "season_length": 1, "series": len(ids), "quarantine": [["x\0y", "why"]]},
        **{"scored_at": "2025-03-31T00:00:00.123456+00:00", "data_hash": "h" * 64},
    } | facts
    if event:
        manifest |= {"task": "event", "event": {"above": 1.0}}
    provenance = {
        **{"model_name": "gatecast-demo", "model_version": 1, "model_digest": "d" * 64},
        **{"data_hash": "h" * 64, "run_key": key},
        "scored_at": pd.Timestamp(manifest["scored_at"]).tz_localize(None).to_pydatetime(),
        **({"event": "above 1"} if event else {}),
    }
    where, written = open_storage(sink.shard_address(manifest["source"], key)), []
    for number, windows in enumerate([latest(built)[::2], latest(built)[1::2]]):
        values = rng.normal(size=(len(windows), 2, 1 if event else 11)).astype(np.float32)
        made = (
            EventForecast(values[..., 0], windows) if event else QuantileForecast(values, windows)
        )
        reason = np.array(["", "no finite number"])[np.arange(len(windows)) % 2]
        table = shard_files.encode(built, made, reason, provenance)
        written.append(shard_files.write(where, table, shard_files.name_of(number, 1)))
    return manifest | {"rows": sum(p["rows"] for p in written), "parts": written}


def publish(sink: Sink, key: str, *args: Any, **facts: Any) -> dict[str, Any]:
    manifest = stage(sink, key, *args, **facts)
    sink.publish(manifest["source"], key, manifest)
    return manifest


def staged_as_one(sink: Sink, manifest: dict[str, Any]) -> pd.DataFrame:
    """The parts as they lie, read past the sink."""
    where = open_storage(sink.shard_address(manifest["source"], manifest["run_key"]))
    read = [where.read(part["name"]) for part in manifest["parts"]]
    return ordered(
        shard_files.frame([shard_files.decode(data) for data in read if data is not None])
    )


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["unique_id", "step"], ignore_index=True)
