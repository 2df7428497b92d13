"""What ``dvc metrics`` and ``dvc exp show`` list of a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatecast.evaluation import summary

BOARD: dict[str, Any] = {
    "metric": "wape",
    "best": "lstm",
    "digests": {"lstm": "a" * 64, "rnn": "b" * 64},
    "scores": {
        "lstm": {"wape": 0.2000001, "skill": 0.5, "coverage_95": 0.94, "mase": 0.4},
        "rnn": {"wape": 0.25, "skill": 0.4, "coverage_95": 0.93, "mase": 0.5},
        "seasonal_naive": {"wape": 0.4, "skill": 0.0, "coverage_95": 0.9, "mase": 0.8},
    },
}
NO_EVENT: dict[str, Any] = {"best": None, "digests": {}, "scores": {}}
EVENT: dict[str, Any] = {
    "best": "event_lstm",
    "digests": {"event_lstm": "c" * 64},
    "scores": {
        "event_lstm": {"event": "above 200", "brier": 0.1, "skill": 0.3, "auroc": 0.9},
        "persistence": {"event": "above 200", "brier": 0.2, "skill": 0.0, "auroc": 0.5},
    },
}


def written(folder: Path, board: dict[str, Any], events: dict[str, Any]) -> dict[str, Any]:
    (folder / "leaderboard.json").write_text(json.dumps(board))
    (folder / "events.json").write_text(json.dumps(events))
    summary.write(folder)
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_it_holds_the_best_variant_and_the_main_score_of_each_and_no_hash(tmp_path: Path) -> None:
    assert written(tmp_path, BOARD, NO_EVENT) == {
        "best": "lstm",
        "wape": 0.2,
        "skill": 0.5,
        "coverage_95": 0.94,
        "variants": {"lstm": 0.2, "rnn": 0.25},
    }


def test_events_are_in_it_where_one_is_forecast(tmp_path: Path) -> None:
    assert written(tmp_path, BOARD | {"best": None, "digests": {}}, EVENT) == {
        "event": {
            "best": "event_lstm",
            "brier": 0.1,
            "skill": 0.3,
            "auroc": 0.9,
            "variants": {"event_lstm": 0.1},
        }
    }
