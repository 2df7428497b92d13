"""What people find on MLflow's pages: names, colours, the champion, the note and the saved view."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gatecast.data.panel import Panel
from gatecast.registry import aliases
from gatecast.registry.mlflow import pages, store
from gatecast.reports import overview
from tests.registry.conftest import settle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def promoted(after_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own after two promotions: version 2 is champion."""
    settle(tmp_path, after_two / "mlflow.db", monkeypatch)
    shutil.copy(after_two / "ledger.db", tmp_path)
    return tmp_path


def champions() -> list[str]:
    """Versions whose run has the tag, with its value."""
    versions = store.client().search_model_versions("name = 'gatecast-tiny'")
    tags = {v.version: store.client().get_run(v.run_id).data.tags for v in versions}
    return [f"{version}: {t['champion']}" for version, t in tags.items() if "champion" in t]


def experiment_tags() -> dict[str, str]:
    return dict(store.client().get_experiment(store.experiment("tiny")).tags)


def test_a_run_is_named_by_variant_horizon_seed_and_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert pages.run_name("lstm", 24, 1) == "lstm h24 seed 1"
    assert pages.run_name("naive", 24) == "naive h24"
    monkeypatch.setenv("DVC_EXP_NAME", "brave-newt")
    assert pages.run_name("lstm", 24, 1) == "lstm h24 seed 1 (exp brave-newt)"


def test_variants_have_colours_of_their_own() -> None:
    variants = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["variants"]
    names = [*variants, "naive", "seasonal_naive"]
    assert len({pages.colour(name) for name in names}) == len(names)


def test_the_champion_s_run_has_the_tag_and_a_rollback_moves_it(promoted: Path) -> None:
    assert champions() == ["2: v2 gatecast-tiny"]
    aliases.rollback("tiny")
    assert champions() == ["1: v1 gatecast-tiny"]


def test_the_note_names_champion_reason_and_leaderboard(
    promoted: Path, filled: Any, tiny: Panel
) -> None:
    reports = next(iter(filled.boards.values())).parent
    overview.update("tiny", reports)
    note = experiment_tags()["mlflow.note.content"]
    first, *rest = note.splitlines()
    assert first.startswith("**linear** is champion of `gatecast-tiny` (version 2). Last decision")
    assert "linear promoted: " in first
    assert any(line.startswith("| linear |") for line in rest)
    assert any(line.startswith("| *seasonal_naive* |") for line in rest)


def test_the_note_has_the_board_of_events_where_a_variant_forecasts_one(workplace: Path) -> None:
    scores = {"event": "above 33", "brier": 0.1, "skill": 0.5, "auroc": 0.9}
    events = pd.DataFrame([scores], index=["event_lstm"])
    assert "| event_lstm | above 33 | 0.100 | 0.500 | 0.900 |" in overview.note("x", None, events)


def test_the_view_shows_the_newest_data_best_first(
    promoted: Path, filled: Any, tiny: Panel
) -> None:
    overview.update("tiny", next(iter(filled.boards.values())).parent)
    state = json.loads(json.loads(experiment_tags()["mlflow.sharedViewState.gatecast"])["state"])
    assert state["orderByKey"] == "metrics.`test_mase`"
    assert state["orderByAsc"] is True
    assert tiny.meta.data_hash in state["searchFilter"]
    assert {"metrics.`test_mase`", "tags.`champion`"} <= set(state["selectedColumns"])


def test_an_experiment_of_dvc_changes_neither_note_nor_view(
    promoted: Path, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brave-newt")
    overview.update("tiny", next(iter(filled.boards.values())).parent)
    assert "mlflow.note.content" not in experiment_tags()


def test_before_an_evaluation_the_address_is_that_of_all_runs(promoted: Path, filled: Any) -> None:
    """MLflow refuses a view that nobody has saved."""
    runs = (
        f"http://host/#/experiments/{store.experiment('tiny')}/runs?workflowType=machine_learning"
    )
    assert pages.address("http://host/", "tiny") == runs
    overview.update("tiny", next(iter(filled.boards.values())).parent)
    assert pages.address("http://host/", "tiny") == f"{runs}&viewStateShareKey=gatecast"
