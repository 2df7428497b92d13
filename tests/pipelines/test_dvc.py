"""DVC, as its manual says: own data, experiments in a queue, sharing; a project without git."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from gatecast.registry.mlflow import store
from tests.conftest import ROOT, Clone

RECIPE = """# @package feed
files: [{path: sales.csv}]
id: store
time: [day]
target: sold
frequency: D
task: {horizon: 7}
"""


@pytest.fixture
def project(fresh_clone: Any) -> Iterator[Any]:
    """A clone with a feed of its own that DVC tracks, and one variant, which is trained in seconds."""
    days = np.arange(300)
    noise = np.random.default_rng(1).normal(size=(3, len(days)))
    stamps = pd.date_range("2024-01-01", periods=len(days)).strftime("%Y-%m-%d")
    sold = 20 + 5 * np.sin(2 * np.pi * days / 7) + noise
    tables = [
        pd.DataFrame({"store": name, "day": stamps, "sold": values.round(2)})
        for name, values in zip(("north", "south", "east"), sold, strict=True)
    ]
    pd.concat(tables).to_csv(fresh_clone.path / "data/raw/sales.csv", index=False)
    (fresh_clone.path / "conf/source/sales.yaml").write_text(RECIPE)
    nets = "  - rnn\n  - lstm\n  - gru\n  - lstm_experts\n"
    fresh_clone.edit("params.yaml", nets, "")
    fresh_clone.edit("params.yaml", "source: demo", "source: sales")
    fresh_clone.run("dvc", "add", "data/raw/sales.csv")
    commit(fresh_clone, "sales")
    yield fresh_clone
    fresh_clone.run("dvc", "queue", "stop", "--kill", check=False)


def commit(clone: Clone, message: str) -> None:
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", message)


def runs(clone: Clone) -> list[Any]:
    client = mlflow.MlflowClient(f"sqlite:///{clone.path / store.DATABASE}")
    return list(client.search_runs([client.get_experiment_by_name("gatecast-sales").experiment_id]))


def wait_for(clone: Clone, *experiments: str) -> None:
    """Until DVC has committed the results of experiments that its workers run."""
    end = time.monotonic() + 300
    while not all(f"/{name}\n" in clone.run("git", "for-each-ref").stdout for name in experiments):
        assert time.monotonic() < end, clone.run("dvc", "queue", "status").stdout
        time.sleep(2)


@pytest.mark.slow
def test_a_team_tries_compares_and_shares_with_data_of_its_own(
    project: Any, tmp_path: Path
) -> None:
    assert "sales.csv.dvc" in project.run("git", "ls-files", "data/raw").stdout
    project.run("dvc", "repro")
    commit(project, "first champion")
    decided = (project.path / "reports/promotion.md").read_bytes()

    # a variant trained by hand concerns the belt only once it is in the list
    recipes = project.path / "conf/model"
    shutil.copy(recipes / "linear.yaml", recipes / "mine.yaml")
    project.run("python", "pipelines/train.py", "model=mine")
    assert "up to date" in project.run("dvc", "status").stdout
    (recipes / "mine.yaml").unlink()

    # two experiments at once, each in a checkout of its own
    project.run("dvc", "exp", "run", "--queue", "-n", "other-seed", "-S", "seed=5")
    project.run("dvc", "exp", "run", "--queue", "-n", "stricter", "-S", "promote.min_skill=0.02")
    project.run("dvc", "queue", "start", "-j", "2")
    wait_for(project, "other-seed", "stricter")
    assert "linear: not_better: " in project.run("dvc", "queue", "logs", "other-seed").stdout
    tagged = {run.data.tags.get("dvc.experiment") for run in runs(project)}
    assert tagged == {None, "other-seed"}  # the other has trained nothing
    assert (project.path / "reports/promotion.md").read_bytes() == decided
    assert "gatecast-sales v1" in project.run("python", "pipelines/status.py").stdout

    # DVC has their scores, and those of HEAD
    (project.path / ".venv").mkdir()
    (project.path / ".venv/.ready").touch()
    table = project.run("make", "experiments").stdout
    assert max(map(len, table.splitlines())) <= 80
    for name in ("other-seed", "stricter", "best", "mase", "skill", "seed"):
        assert name in table
    diff = project.run("dvc", "metrics", "diff", "HEAD", "other-seed", "--all", "--json").stdout
    assert json.loads(diff)["reports/metrics.json"]["mase"]["old"] > 0

    # whoever clones and pulls trains nothing anew
    project.run("dvc", "remote", "add", "-q", "-d", "ours", str(tmp_path / "remote"))
    commit(project, "remote")
    project.run("dvc", "push")
    project.run("git", "clone", "-q", ".", str(tmp_path / "colleague"))
    colleague = Clone(tmp_path / "colleague")
    colleague.run("dvc", "pull")
    said = colleague.run("dvc", "repro").stdout
    assert [line for line in said.splitlines() if line.startswith("Running")] == [
        "Running stage 'promote':"
    ]
    assert "champion of gatecast-sales is version 1" in said
    assert "up to date" in colleague.run("dvc", "status").stdout


def test_an_experiment_in_a_checkout_runs_the_code_of_that_checkout(
    clone_into: Any, tmp_path: Path
) -> None:
    """Whatever an editable install, or PYTHONPATH, would import."""
    clone = clone_into(tmp_path / ".dvc/tmp/exps/tmpab12")
    clone.edit("src/gatecast/cli/commands/status.py", "Print what there is", "Print what is new")
    done = clone.run("python", "pipelines/status.py", "--help", PYTHONPATH=str(ROOT / "src"))
    assert done.stdout.startswith("Print what is new")


@pytest.mark.slow
def test_a_project_without_git_works(fresh_clone: Any) -> None:
    shutil.rmtree(fresh_clone.path / ".git")
    assert "not a git repository" in fresh_clone.run("dvc", "repro", check=False).stderr
    fresh_clone.run("make", "without-git", f"BIN={Path(sys.executable).parent}")
    assert "Running stage 'ingest'" in fresh_clone.run("dvc", "repro", "ingest").stdout
