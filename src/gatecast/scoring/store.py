"""Reading what was published: runs and their tables. Readers see whole runs only, whatever a writer is doing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core.errors import ScoringError
from gatecast.core.forecast import Task
from gatecast.scoring import config, sinks
from gatecast.scoring.sinks import Sink


def run_key(**facts: Any) -> str:
    """Hash of the facts that decide a run's numbers."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def task_of(manifest: dict[str, Any]) -> Task:
    """What a run forecasts. Manifests of quantile runs do not say."""
    task: Task = manifest.get("task", "quantile")
    return task


def runs(
    source: str | None = None,
    sink: Sink | str | None = None,
    kind: Task | None = None,
    root: str | Path = ".",
) -> list[dict[str, Any]]:
    """Facts of all published runs, oldest first: their manifests without ``parts`` and ``quarantine``.

    Args:
        source: of which; None: of all.
        sink: where they were published, or its address (see :func:`gatecast.scoring.sinks.at`); None: Parquet in
            ``forecasts/``.
        kind: quantile | event: what they forecast; None: both.
        root: the project folder, in which a relative address lies.
    """
    return [m for m in opened(sink, root).manifests(source) if kind in (None, task_of(m))]


def read_forecasts(
    source: str | None = None,
    run_key: str | None = None,
    sink: Sink | str | None = None,
    kind: Task | None = None,
    root: str | Path = ".",
) -> pd.DataFrame:
    """Read published forecasts.

    Args:
        source: name of the source; None if there is only one.
        run_key: of a run (see :func:`runs`); None: the one with the latest cutoff, and of those the last live revision.
        sink: as for :func:`runs`.
        kind: quantile | event; None: what the run named by ``run_key`` forecasts, else quantiles.
        root: as for :func:`runs`.

    Returns:
        The forecast table: ``unique_id, cutoff, ds, step``, ``gatecast``, ``gatecast-lo-95`` …, provenance; of events
        ``probability``, that the ``event`` has happened by ``ds``, instead of the quantiles.

    Raises:
        ScoringError: NO-FORECASTS, SOURCE (several, name one), CORRUPT.
    """
    sink = opened(sink, root)
    if source and run_key:
        published = [found] if (found := sink.find(source, run_key)) else []
    else:
        published = [m for m in sink.manifests(source) if run_key in (None, m["run_key"])]
    task = kind or ("quantile" if run_key is None else None)
    others = [m for m in published if task not in (None, task_of(m))]
    published = [m for m in published if task in (None, task_of(m))]
    if not published:
        asked = f"{f' of {source}' if source else ''}{f', kind {task},' if others else ''}"
        raise ScoringError(
            "NO-FORECASTS",
            f"there are no published forecasts{asked} in {sink.where(source or '', '')}.",
            f"Read those of kind='{task_of(others[0])}'." if others else "Run `gatecast score`.",
        )
    sources = {m["source"] for m in published}
    if len(sources) > 1:
        raise ScoringError(
            "SOURCE",
            f"there are forecasts of several sources: {', '.join(sorted(sources))}.",
            "Name one: read_forecasts('demo').",
        )
    return sink.read(max(published, key=age))


def age(manifest: dict[str, Any]) -> tuple[pd.Timestamp, bool, int, str]:
    """Sort key of runs, the current one last: cutoff, backfills before live runs, revision, time of scoring."""
    # As an instant: local times come twice when clocks go back.
    cutoff = pd.Timestamp(manifest.get("cutoff") or 0)
    cutoff = cutoff.tz_convert("UTC").tz_localize(None) if cutoff.tz is not None else cutoff
    live = manifest.get("kind", "live") == "live"
    return cutoff, live, manifest.get("revision", 0), manifest["scored_at"]


def opened(sink: Sink | str | None, root: str | Path = ".") -> Sink:
    """A sink, or the one at an address; None: as for :func:`runs`."""
    if sink is not None and not isinstance(sink, str):
        return sink
    address = sink or config.SinkSettings().address
    return sinks.at(address if "://" in address else str(Path(root, address)))
