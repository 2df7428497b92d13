"""The note on the pages of a source's experiment in MLflow: who is champion, the leaderboard, why it was decided so.

Beside it stands a view of the runs on the newest data, best first: :mod:`gatecast.registry.mlflow.pages`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core.forecast import TASKS
from gatecast.core.ledger import Ledger
from gatecast.evaluation import event_board
from gatecast.evaluation.config import BASELINES, EVENT_BASELINES
from gatecast.registry import aliases
from gatecast.registry.champion import CHAMPION, version_at
from gatecast.registry.mlflow import pages, parameters, store

_SCORES = ("mase", "skill", "smape", "wql", "coverage_95")
_EVENT_SCORES = ("brier", "skill", "auroc")
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
    board, events = _boards(source, reports)
    with store.answering():
        pages.describe(source, note(source, board, events))
        if board:
            scores = dict.fromkeys((board["metric"], *_COLUMNS))
            differing = parameters.differing(source, board["data_hash"], _TELLING)
            columns = [
                *(f"metrics.test_{name}" for name in scores),
                "metrics.train_seconds",
                *(f"params.{name}" for name in differing[:_PARAMETERS]),
            ]
            pages.save_view(source, board["data_hash"], columns)


def note(source: str, board: dict[str, Any] | None, events: pd.DataFrame | None = None) -> str:
    """The note, in Markdown.

    Args:
        source: whose experiment.
        board: content of ``leaderboard.json``; None before the first evaluation.
        events: the board of variants that forecast an event; None if there are none.
    """
    lines = []
    for task in TASKS:
        lines += _decided(store.model_name(source, task))
    if board:
        columns = list(dict.fromkeys((board["metric"], *_SCORES)))
        title = f"{board['origins']:,} origins, horizon {board['horizon']}, by {board['metric']}"
        scores = pd.DataFrame.from_dict(board["scores"], orient="index")
        lines += [f"**Leaderboard** ({title}; newest data)", "", *_table(scores, columns), ""]
    if events is not None:
        lines += ["**Events** (by brier)", "", *_table(events, ["event", *_EVENT_SCORES]), ""]
    return "\n".join(lines)


def _table(scores: pd.DataFrame, columns: list[str]) -> list[str]:
    """A Markdown table of scores, one line per variant; baselines in italics."""
    lines = [f"| variant | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, row in scores.iterrows():
        shown = f"*{name}*" if name in (*BASELINES, *EVENT_BASELINES) else str(name)
        lines.append(f"| {shown} | {' | '.join(_cell(row.get(c)) for c in columns)} |")
    return lines


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


def _boards(source: str, reports: Path) -> tuple[dict[str, Any] | None, pd.DataFrame | None]:
    """The leaderboard of a source and its board of events, where there are some."""
    path = reports / "leaderboard.json"
    board = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not board or board["source"] != source:
        return None, None
    events = event_board.read(reports) if (reports / "events.csv").is_file() else pd.DataFrame()
    return board, None if events.empty else events


def _cell(score: Any) -> str:
    if isinstance(score, str):
        return score
    return "-" if score is None or pd.isna(score) else f"{score:.3f}"
