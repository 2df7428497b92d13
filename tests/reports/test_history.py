"""The table of past runs: what was published, what failed, and what is not finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core.ledger import Ledger
from gatecast.reports import history
from gatecast.scoring import config, sinks
from gatecast.scoring.run import BEGUN, FAILED, KIND, note

FACTS: dict[str, Any] = {
    "kind": "live", "series": 12345, "fallbacks": 7, "quarantined": 2, "version": 4, "revision": 2, "seconds": 3.5,
}  # fmt: skip


def runs() -> list[tuple[str, str]]:
    sink = sinks.sink(config.SinkSettings())
    return [(run["run_key"], run["state"]) for run in history.last("demo", sink, Ledger())]


def test_a_run_is_published_failed_or_not_finished(
    project: Path, publish: Callable[..., Any]
) -> None:
    ledger = Ledger()
    for key in ("ok", "bad", "open"):
        ledger.append(BEGUN, "demo", {"run_key": key, "scored_at": "2025-01-01"})
    ledger.append(FAILED, "demo", FACTS | {"run_key": "bad", "cutoff": "2025-01-01"})
    sink = publish("ok", pd.DataFrame({"unique_id": ["a"]}), **FACTS)
    assert runs() == [("open", history.OPEN), ("bad", history.TOO_FEW), ("ok", history.PUBLISHED)]
    note(ledger, sink.manifests()[0])
    ledger.append(KIND, "demo", {"run_key": "open"})  # published in another sink
    assert runs() == [("bad", history.TOO_FEW), ("ok", history.PUBLISHED)]


def test_the_table_holds_every_number_of_a_run(publish: Callable[..., Any]) -> None:
    publish("k1", pd.DataFrame({"unique_id": ["a"]}), **FACTS)
    publish("before-there-were-kinds", pd.DataFrame({"unique_id": ["a"]}), series=3, version=1)
    table = history.render(history.last("demo", sinks.sink(config.SinkSettings()), Ledger()))
    row = next(line for line in table.splitlines() if "k1" in line).split()
    numbers = ["live", "2025-01-01", "12,345", "7", "2", "v4", "2", "3.5", "published", "k1"]
    assert row == ["2025-01-01T00:00", *numbers]
    assert "before-there-were-kinds" in table


def test_the_newest_ten_are_shown(publish: Callable[..., Any]) -> None:
    for day in range(10, 25):
        publish(f"k{day}", pd.DataFrame({"unique_id": ["a"]}), scored_at=f"2025-01-{day}T00:00:00")
    assert [key for key, _ in runs()] == [f"k{day}" for day in range(24, 14, -1)]
