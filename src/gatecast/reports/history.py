"""The last scoring runs of a source as a table: published, failed, and begun but not ended."""

from __future__ import annotations

from typing import Any

from gatecast.core import terminal
from gatecast.core.ledger import Ledger
from gatecast.scoring.run import BEGUN, FAILED, KIND
from gatecast.scoring.sinks import Sink

PUBLISHED, TOO_FEW, OPEN = "published", "failed: too few", "not finished"
_NUMBERS = ("series", "fallbacks", "quarantined", "version", "revision", "seconds")


def last(source: str, sink: Sink, ledger: Ledger, count: int = 10) -> list[dict[str, Any]]:
    """The newest runs, newest first.

    Returns:
        Manifests with ``when`` (UTC) and ``state``. What failed published nothing; what is not finished is at work,
        or was killed and is taken up again by the next command.
    """
    published = [m | {"state": PUBLISHED, "when": m["scored_at"]} for m in sink.manifests(source)]
    failed = [
        e.facts | {"state": TOO_FEW, "when": e.at, "revision": None}
        for e in ledger.entries(FAILED, source)
    ]
    ended = {run["run_key"] for run in (*published, *failed)}
    ended |= {e.facts["run_key"] for e in ledger.entries(KIND, source)}  # in another sink
    opened = [
        e.facts | {"state": OPEN, "when": e.at}
        for e in ledger.entries(BEGUN, source)
        if e.facts["run_key"] not in ended
    ]
    every = sorted([*published, *failed, *opened], key=lambda run: run["when"][:19])
    return every[::-1][:count]


def render(runs: list[dict[str, Any]]) -> str:
    """The table as text."""
    tasks = ("task",) if any("task" in run for run in runs) else ()  # runs of quantiles do not say
    columns = ("when", *tasks, "kind", "cutoff", *_NUMBERS, "state", "run")
    rows = [
        [run["when"][:16], *(_cell(c, run.get(c)) for c in columns[1:-1]), run["run_key"]]
        for run in runs
    ]
    return terminal.table("scoring runs, newest first", columns, rows, _NUMBERS, width=200)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "quantile" if name == "task" else "-"
    if name == "version":
        return f"v{value}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
