"""The note on the pages of a source's experiment in MLflow: who is champion, the leaderboard, why it was decided so.

Beside it stands a view of the runs on the newest data, best first: :mod:`gatecast.registry.mlflow.pages`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gatecast.core.forecast import TASKS
from gatecast.core.ledger import Ledger
from gatecast.evaluation.config import BASELINES
from gatecast.registry import aliases
from gatecast.registry.champion import CHAMPION, version_at
from gatecast.registry.mlflow import pages, parameters, store

_SCORES = ("mase", "skill", "smape", "wql", "coverage_95")
_COLUMNS = ("mase", "smape", "wql")
# the parameters that tell variants apart, most telling first; those that are the same everywhere take no column
_PARAMETERS = 3
_TELLING = ("model.kind", "model.cell", "model.hidden_size", "model.decoder", "seed")


def update(source: str, reports: Path) -> None:
    """Write note and view anew, after an evaluation or a decision. An experiment of DVC decides nothing: no change.

    Args:
        source: whose experiment.
        reports: folder of the leaderboard.
    """
    if os.environ.get("DVC_EXP_NAME"):
        return
    board = _board(source, reports)
    with store.answering():
        pages.describe(source, note(source, board))
        if board:
            scores = dict.fromkeys((board["metric"], *_COLUMNS))
            differing = parameters.differing(source, board["data_hash"], _TELLING)
            columns = [
                *(f"metrics.test_{name}" for name in scores),
                "metrics.train_seconds",
                *(f"params.{name}" for name in differing[:_PARAMETERS]),
            ]
            pages.save_view(source, board["data_hash"], columns)


def note(source: str, board: dict[str, Any] | None) -> str:
    """The note, in Markdown.

    Args:
        source: whose experiment.
        board: content of ``leaderboard.json``; None before the first evaluation.
    """
    lines = []
    for task in TASKS:
        lines += _decided(store.model_name(source, task))
    if not board:
        return "\n".join(lines)
    title = f"{board['origins']:,} origins, horizon {board['horizon']}, by {board['metric']}"
    names = list(dict.fromkeys((board["metric"], *_SCORES)))
    lines += [
        f"**Leaderboard** ({title}; newest data)",
        "",
        f"| variant | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for name, scores in board["scores"].items():
        shown = f"**{name}**" if name == board["best"] else name
        shown = f"*{name}*" if name in BASELINES else shown
        cells = (_cell(scores.get(score)) for score in names)
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _decided(model: str) -> list[str]:
    """The champion of a registered model and the last decision about it, in a line: all that a closed note shows."""
    past, sitting = Ledger().entries(aliases.KIND, model), version_at(model, CHAMPION)
    if sitting is None and not past:
        return []
    text = f"`{model}` has no champion."
    if sitting is not None:
        variant = sitting.tags.get("gatecast.variant", "?")
        text = f"**{variant}** is champion of `{model}` (version {sitting.version})."
    if past:
        last = past[-1]
        who, verdict = last.facts.get("challenger") or "", last.facts["verdict"].replace("_", " ")
        why = str(last.facts["reason"]).rstrip(".")
        text += f" Last decision ({last.at[:10]}): {who} {verdict}: {why}."
    return [text, ""]


def _board(source: str, reports: Path) -> dict[str, Any] | None:
    path = reports / "leaderboard.json"
    board = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return board if board and board["source"] == source else None


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
