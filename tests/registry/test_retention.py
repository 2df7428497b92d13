"""What a registry keeps: nothing that somebody may still need is deleted, and nothing is deleted by listing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from gatecast.core.ledger import Ledger
from gatecast.data.panel import Panel
from gatecast.registry import promotion, retention
from gatecast.registry.champion import champion
from gatecast.registry.mlflow import runs, store

NAME = "gatecast-tiny"
QUALITIES = (0.95, 0.97, 0.985, 1.0)


LENIENT = {"margin": 0.0, "confidence": 0.5, "max_segment_loss": 9.0}
PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
}


@pytest.fixture(scope="module")
def filled(shared_workplace: Path, tiny: Panel, promote: Callable[..., dict[str, Any]]) -> Path:
    """A registry of four versions, each better than the one before: 4 is champion, 3 is previous."""
    for number, quality in enumerate(QUALITIES, 1):
        assert promote(shared_workplace, tiny, quality, **LENIENT)["champion"] == number
    return shared_workplace


@pytest.fixture
def four(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with a store that knows where its artifacts are now."""
    copy = tmp_path / "project"
    shutil.copytree(filled, copy)
    with closing(sqlite3.connect(copy / "mlflow.db")) as store, store:
        for table, column in PATHS.items():
            moved = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(moved, (str(filled), str(copy)))
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # set by the client of the other
    return copy


def actions(keep: int, in_use: dict[int, str] | None = None) -> dict[int, str]:
    return {s.version: s.action for s in retention.plan(NAME, keep, in_use or {})}


def weights(folder: Path) -> int:
    """Packages in the artifact store."""
    return len(list((folder / "mlartifacts").rglob("weights.safetensors")))


def test_versions_beyond_the_newest_are_archived_but_never_champion_or_previous(four: Path) -> None:
    assert actions(keep=1) == {4: "keep", 3: "keep", 2: "archive", 1: "archive"}
    store.client().set_registered_model_alias(NAME, "champion", "1")  # somebody went back
    assert actions(keep=1) == {4: "keep", 3: "keep", 2: "archive", 1: "keep"}


def test_a_version_whose_forecasts_are_in_use_stays(four: Path) -> None:
    assert actions(keep=1, in_use={2: "forecasts of today"})[2] == "keep"


def test_a_plan_deletes_nothing(four: Path) -> None:
    actions(keep=1)
    assert weights(four) == 4


def test_an_archived_version_keeps_number_tags_and_card_and_loses_its_artifacts(four: Path) -> None:
    before = store.client().get_model_version(NAME, "1")
    assert retention.archive(NAME, 1)
    after = store.client().get_model_version(NAME, "1")
    assert after.description == before.description
    assert before.tags.items() <= after.tags.items()
    assert retention.ARCHIVED in after.tags
    assert weights(four) == 3
    assert actions(keep=1) == {4: "keep", 3: "keep", 2: "archive"}
    (noted,) = Ledger().entries("archive", NAME)
    assert noted.facts["digest"] == before.tags["gatecast.digest"]


def test_the_champion_still_forecasts_after_all_others_were_archived(
    four: Path, frame: pd.DataFrame
) -> None:
    for step in retention.plan(NAME, 1, {}):
        if step.action == "archive":
            retention.archive(NAME, step.version)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert len(model.predict(frame)) == 24
    assert champion("tiny", "previous") is not None


def test_a_version_that_got_an_alias_since_the_plan_was_made_stays(four: Path) -> None:
    assert actions(keep=1)[1] == "archive"
    store.client().set_registered_model_alias(NAME, "champion", "1")
    assert not retention.archive(NAME, 1)
    assert weights(four) == 4


def test_an_interrupted_archiving_is_finished(four: Path) -> None:
    store.client().set_model_version_tag(NAME, "1", retention.ARCHIVED, "now")
    assert actions(keep=4)[1] == "archive"
    assert retention.archive(NAME, 1)
    assert 1 not in actions(keep=4)


def test_an_archived_package_that_is_trained_again_gets_a_version_with_artifacts(
    four: Path, tiny: Panel, write_package: Callable[..., str]
) -> None:
    digest = store.client().get_model_version(NAME, "1").tags["gatecast.digest"]
    retention.archive(NAME, 1)
    assert runs.find("tiny", digest) is None
    assert write_package(four / "models/linear", tiny, QUALITIES[0]) == digest
    assert promotion.register(four / "models/linear", NAME) == 5
    assert mlflow.pyfunc.load_model(f"models:/{NAME}/5") is not None


def test_a_source_without_versions_has_no_plan(workplace: Path) -> None:
    assert retention.plan("never-seen", 1, {}) == []
