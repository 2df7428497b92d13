"""reports/metrics.json: the few numbers of a comparison that ``dvc metrics`` and ``dvc exp show`` list.

    {"best": "lstm", "mase": 0.42, "skill": 0.52, "coverage_95": 0.955, "variants": {"lstm": 0.42, "rnn": 0.44}}

The scores are those of the best variant, ``variants`` has the main score of each. ``event`` holds the same of event
forecasts, if a variant makes them. Everything else is on the boards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatecast.core import atomic
from gatecast.core.numbers import finite

DIGITS = 5


def write(reports: Path) -> None:
    """Write ``metrics.json`` from the boards beside it, ``leaderboard.json`` and ``events.json``."""
    board, events = (
        json.loads((reports / name).read_text(encoding="utf-8"))
        for name in ("leaderboard.json", "events.json")
    )
    brief = _brief(board, (board["metric"], "skill", "coverage_95"))
    event = _brief(events, ("brier", "skill", "auroc"))
    atomic.write_json(reports / "metrics.json", brief | ({"event": event} if event else {}))


def _brief(board: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Some scores of the best variant of a board, and the first of them of every variant; empty without a variant."""
    best, scores = board["best"], board["scores"]
    if best is None:
        return {}
    variants = {name: row[names[0]] for name, row in scores.items() if name in board["digests"]}
    of_best = {name: scores[best][name] for name in names}
    return dict(finite({"best": best, **of_best, "variants": variants}, DIGITS))
