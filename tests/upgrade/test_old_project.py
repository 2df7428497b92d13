"""A project of an earlier version: its registry, ledger, packages and forecasts are read, scored and rolled back.

``tests/fixtures/project_0_1_0.tar.xz`` was made by gatecast 0.1.0 of 2026-11-21 (package schema 3) from a demo of 12
series x 40 days with the smoke trainer: rnn promoted as version 1, linear as version 2, logistic as event version 1;
three scoring runs; plots removed, addresses rewritten to /srv/forecasting.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

OLD = Path(__file__).parents[1] / "fixtures" / "project_0_1_0.tar.xz"
WAS_IN = "/srv/forecasting"
RUNS = {"3f703c21bae39fd5": 1, "55780250c234c834": 1, "70d9331427be709e": 2}  # by version

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, clone_into: Any) -> Any:
    """This version's code, with what the earlier version left in the project folder."""
    clone = clone_into(tmp_path_factory.mktemp("upgrade") / "project")
    settings = clone.path / "conf"
    with tarfile.open(OLD) as archive:
        kept = [m for m in archive.getmembers() if not m.name.startswith(("conf", "params.yaml"))]
        archive.extractall(clone.path, kept, filter="data")
    assert settings.is_dir()
    store = sqlite3.connect(clone.path / "mlflow.db")
    for table, column in (
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("experiments", "artifact_location"),
        ("model_versions", "storage_location"),
    ):
        moved = f"update {table} set {column} = replace({column}, ?, ?)"
        store.execute(moved, (WAS_IN, str(clone.path)))
    store.commit()
    store.close()
    for described in clone.path.glob("mlartifacts/**/MLmodel"):
        text = described.read_text(encoding="utf-8").replace(WAS_IN, str(clone.path))
        described.write_text(text, encoding="utf-8")
    return clone


def forecasts(project: Any, run_key: str) -> pd.DataFrame:
    code = (
        "import sys; from gatecast.scoring import read_forecasts;"
        "read_forecasts('demo', run_key=sys.argv[1]).to_parquet(sys.argv[2])"
    )
    out = project.path / f"{run_key}.parquet"
    project.run("python", "-c", code, run_key, str(out))
    return pd.read_parquet(out)


def manifests(project: Any) -> list[dict[str, Any]]:
    code = "import json; from gatecast.scoring import runs; print(json.dumps(runs('demo', kind='quantile')))"
    return list(json.loads(project.run("python", "-c", code).stdout))


def test_what_was_published_is_listed_and_read(project: Any) -> None:
    assert {m["run_key"]: m["version"] for m in manifests(project)} == RUNS
    table = forecasts(project, "70d9331427be709e")
    assert len(table) == 12 * 24
    assert set(table["model_version"]) == {2}


def test_status_knows_the_champion_and_its_history(project: Any) -> None:
    said = project.run("python", "pipelines/status.py").stdout
    assert "gatecast-demo v2 (linear, ac08cddbf" in said
    assert "gatecast-demo-event v1 (logistic" in said
    assert "70d9331427be709e" in said


def test_the_champion_scores_on(project: Any) -> None:
    project.run("python", "pipelines/score.py", "as_of=2025-02-08T23:00")
    newest = max(manifests(project), key=lambda m: m["scored_at"])
    assert newest["version"] == 2
    assert newest["cutoff"] == "2025-02-08 23:00:00"
    assert newest["fallbacks"] == newest["quarantined"] == 0


def test_a_rollback_returns_a_package_of_the_earlier_version_and_it_forecasts_the_same(
    project: Any,
) -> None:
    before = forecasts(project, "55780250c234c834")  # version 1, the same feed
    project.run("python", "pipelines/promote.py", "mode=rollback")
    project.run("python", "pipelines/score.py")
    newest = max(manifests(project), key=lambda m: m["scored_at"])
    assert newest["version"] == 1
    assert newest["run_key"] not in RUNS
    after = forecasts(project, newest["run_key"])
    assert before["unique_id"].equals(after["unique_id"])
    columns = [name for name in before if name.startswith("gatecast")]
    pd.testing.assert_frame_equal(before[columns], after[columns], rtol=1e-5)


def test_a_registered_model_of_the_earlier_version_is_served_by_mlflow(project: Any) -> None:
    code = """
import mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/gatecast-demo/1")
frame = pd.read_parquet("data/observations/observations.parquet")
frame = frame.merge(pd.read_parquet("data/observations/static.parquet"), on="unique_id")
frame = frame[[*model.metadata.signature.inputs.input_names()]]
print(len(model.predict(frame)))
"""
    assert project.run("python", "-c", code).stdout.split()[-1] == str(12 * 24)


def test_the_event_champion_of_the_earlier_version_is_scored_too(project: Any) -> None:
    code = (
        "from gatecast.scoring import read_forecasts;"
        "print(read_forecasts('demo', kind='event')['probability'].between(0, 1).all())"
    )
    assert project.run("python", "-c", code).stdout.split() == ["True"]
