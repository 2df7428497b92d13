"""Where the MLflow store is, and the experiment of a source in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecast.core.errors import RegistryError
from gatecast.registry.mlflow import store


def test_artifacts_of_the_local_store_lie_in_the_project(workplace: Path) -> None:
    where = store.client().get_experiment(store.experiment("tiny")).artifact_location
    assert where == (workplace / "mlartifacts/tiny").as_uri()


def test_every_source_has_an_experiment_of_its_own(workplace: Path) -> None:
    assert store.experiment("tiny") == store.experiment("tiny") != store.experiment("m4")


def test_a_deleted_experiment_says_how_to_restore_it(workplace: Path) -> None:
    number = store.experiment("tiny")
    store.client().delete_experiment(number)
    with pytest.raises(RegistryError, match=rf"EXPERIMENT[\s\S]*restore -x {number}"):
        store.experiment("tiny")


def test_the_store_is_sqlite_in_the_project_unless_the_environment_names_one(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.uri() == f"sqlite:///{workplace}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert store.uri() == "http://mlflow.example"


def test_a_store_that_cannot_be_reached_is_named(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "carrier-pigeon://roof")
    with pytest.raises(RegistryError, match=r"STORE.*carrier-pigeon"):
        store.client()
