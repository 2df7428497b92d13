"""The report on what variants remember, as a user makes it: files of the belt, and pictures in the MLflow store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from gatecast.data.panel import Panel
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.registry import package
from gatecast.training.trainer import Trained
from tests.recipes import model_of

RECURRENT = {"lstm", "gru", "seggru"}


def logged(folder: Path) -> dict[str, tuple[set[str], dict[str, float]]]:
    """Pictures and metrics of the newest run of each variant, in the store of a project folder."""
    store = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    where = store.get_experiment_by_name("gatecast-demo").experiment_id
    runs = store.search_runs([where], order_by=["attributes.start_time ASC"])
    return {
        run.data.tags["gatecast.variant"]: (
            {Path(file.path).name for file in store.list_artifacts(run.info.run_id, "plots")},
            run.data.metrics,
        )
        for run in runs
    }


def test_the_belt_shows_what_every_variant_remembers(belt: Any) -> None:
    folder = belt.path / "reports/memory"
    variants = json.loads((folder / "memory.json").read_text(encoding="utf-8"))["variants"]
    assert set(variants) == RECURRENT | {"linear"}
    table = pd.read_csv(folder / "sensitivity.csv")
    assert set(table["variant"]) == set(variants)
    assert table.groupby("variant")["lag"].max().to_dict() == {
        name: facts["lags"] for name, facts in variants.items()
    }
    assert set(pd.read_csv(folder / "steps.csv")["variant"]) == RECURRENT
    pictures = {"sensitivity.png"} | {f"gates_{name}.png" for name in RECURRENT}
    assert {path.name for path in folder.glob("*.png")} == pictures
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))


def test_the_command_prints_a_table_and_says_where_to_read_on(belt: Any) -> None:
    log = (belt.path / "first.log").read_text(encoding="utf-8")
    said = log.split("Running stage 'explain'")[1]
    assert "linear:" in said
    assert "no recurrent layer, so no gates to show" in said
    assert "of 14 steps of 24 rows" in said
    assert "docs/models.md" in said


def test_every_run_has_its_own_pictures(belt: Any) -> None:
    found = logged(belt.path)
    for name in RECURRENT | {"linear"}:
        pictures, metrics = found[name]
        gates = {f"gates_{name}.png"} if name in RECURRENT else set()
        assert {p for p in pictures if p.startswith(("gates", "sensitivity"))} == gates | {
            "sensitivity.png"
        }
        assert metrics["memory_lags"] >= 1
        assert ("memory_steps" in metrics) == (name in RECURRENT)


@pytest.mark.slow
def test_a_variant_that_cannot_be_shown_is_left_out_by_name(
    belt: Any, tmp_path: Path, clone_into: Callable[[Path], Any]
) -> None:
    clone = clone_into(tmp_path / "clone")
    for part in ("data/panel", "models/gru"):
        shutil.copytree(belt.path / part, clone.path / part)
    shutil.copy(clone.path / "conf/model/gru.yaml", clone.path / "conf/model/counts.yaml")
    panel = Panel.load(clone.path / "data/panel")
    recipe = model_of(
        hidden_size=8, n_steps=3, n_origins=1, head="negative_binomial", normalisation="mean"
    )
    spec = replace(input_spec(panel, recipe), nonnegative=True)
    trained = Trained(build(recipe, spec), spec, fit_scaling(panel), {}, {})
    package.write(clone.path / "models/counts", "counts", recipe, 1, panel.meta, trained)
    said = clone.run("python", "pipelines/explain.py", "variants=[counts,gru]").stdout
    assert "counts: left out: the sensitivity of counts cannot be measured: whole counts" in said
    report = clone.path / "reports/memory"
    variants = json.loads((report / "memory.json").read_text(encoding="utf-8"))["variants"]
    assert "left_out" in variants["counts"]
    assert variants["gru"]["memory_steps"] >= 1
    assert {path.name for path in report.glob("gates_*")} == {"gates_gru.png"}
    pictures, _ = logged(clone.path)["gru"]
    assert pictures == {"sensitivity.png", "gates_gru.png"}
