"""`python pipelines/tune.py`, as a user runs, kills and repeats it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[2]


def stopped(project: Any, trial: int, sent: signal.Signals) -> int:
    """Send a signal to the command after the third epoch of a trial that it prints: its exit code."""
    process = subprocess.Popen(
        ["python", "pipelines/tune.py", "model=gru"],
        cwd=project.path,
        env=project.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if sum(f"trial {trial}: epoch " in text for text in seen) == 3:
            process.send_signal(sent)
            process.communicate(timeout=240)
            return process.returncode
    raise AssertionError("".join(seen))


@pytest.fixture
def project(fresh_clone: Any) -> Any:
    """A clone with a panel, in which a search is two trials of thirty epochs."""
    fresh_clone.edit("conf/tune/default.yaml", "trials: 20", "trials: 2")
    smoke = "conf/trainer/smoke.yaml"
    fresh_clone.edit(smoke, "max_epochs: 2", "max_epochs: 30\npatience: 30")
    fresh_clone.run("dvc", "repro", "window")
    return fresh_clone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_search_that_is_stopped_keeps_its_finished_trials(
    project: Any, sent: signal.Signals, code: int
) -> None:
    """However often: only a death is held against a trial."""
    for trial in (1, 2, 3):
        assert stopped(project, trial, sent) == code
    done = project.run("python", "pipelines/tune.py", "model=gru").stdout
    assert "tune: going on with 1 finished trials of tune.db" in done
    assert "resuming from checkpoints/tune/demo/gru/" in done
    assert states(project) == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE"]


def trials(project: Any) -> list[Any]:
    db = f"sqlite:///{project.path}/tune.db"
    return optuna.load_study(study_name=optuna.get_all_study_names(db)[0], storage=db).trials


def states(project: Any) -> list[str]:
    return [trial.state.name for trial in trials(project)]


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_its_recipe_is_accepted(project: Any) -> None:
    assert stopped(project, 1, signal.SIGKILL) == -signal.SIGKILL
    done = project.run("python", "pipelines/tune.py", "model=gru").stdout
    assert "tune: going on with 1 finished trials of tune.db" in done
    assert "resuming from checkpoints/tune/demo/gru/" in done
    assert not list((project.path / "checkpoints").rglob("*.ckpt"))
    values = [trial.params for trial in trials(project)]
    assert states(project) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert values[0] == {"hidden_size": 64, "dropout": 0.2, "context_multiple": 1}
    assert values[1] == values[2] != values[0]
    store = MlflowClient(f"sqlite:///{project.path}/mlflow.db")
    found = store.search_runs(["1"], order_by=["attributes.start_time ASC"])
    runs = [(r.info.run_name, r.info.status) for r in found]
    assert [status for name, status in runs if name == "gru tuning"] == ["KILLED", "FINISHED"]
    assert {name: status for name, status in runs if name != "gru tuning"} == {
        "gru trial 0": "FINISHED",
        "gru trial 1": "KILLED",
        "gru trial 2": "FINISHED",
    }

    report = json.loads((project.path / "reports/tune/gru.json").read_text())
    assert report["best"] <= report["base"]
    assert (project.path / "reports/tune/gru.png").is_file()
    project.edit("params.yaml", "  - gru\n", "  - gru\n  - gru_tuned\n")
    plan = project.run("dvc", "repro", "--dry", "train").stdout
    assert "train@gru_tuned" in plan
    composed = project.run("python", "pipelines/train.py", "model=gru_tuned", "--cfg", "job")
    model = yaml.safe_load(composed.stdout)["model"]
    assert {key: model[key] for key in report["values"]} == report["values"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["model=gru", "+search.space.droput={low: 0, high: 0.5}"], "Did you mean 'dropout'?"),
        pytest.param(
            ["model=gru", "search.trials=0"],
            "ConfigError[RANGE]: the command line: `search.trials`",
            marks=pytest.mark.slow,
        ),
        pytest.param(["model=linear"], "ConfigError[KIND]", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_searched_stops_the_command_before_any_work(
    args: list[str], said: str
) -> None:
    """The checkout has no panel: that would be the first thing to miss."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines/tune.py"), *args],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
