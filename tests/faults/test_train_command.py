"""`python pipelines/train.py` on two devices, as Hydra and Lightning start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

ENDLESS = ("fit.max_epochs=100000", "fit.patience=100000", "fit.steps_per_epoch=4")


@pytest.fixture
def project(fresh_clone: Any) -> Any:
    """A clone with a panel."""
    for command in ("ingest", "window"):
        fresh_clone.run("python", f"pipelines/{command}.py", "source=demo")
    return fresh_clone


def runs(project: Any) -> list[dict[str, Any]]:
    """The MLflow runs of the project."""
    program = """
import json
from gatecast.registry.mlflow import store
found = store.client().search_runs([store.experiment("demo")])
print(json.dumps([{"status": r.info.status, **r.data.tags} for r in found]))
"""
    return list(json.loads(project.run("python", "-c", program).stdout.splitlines()[-1]))


def start(project: Any, *args: str) -> subprocess.Popen[str]:
    """The command in a session of its own, past its second epoch."""
    process = subprocess.Popen(
        ["python", "pipelines/train.py", "model=gru", "trainer=ddp_cpu", *args],
        cwd=project.path,
        env=project.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("epoch 2/" in line for line in process.stdout)
    return process


def left_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes of its session that are still there after five seconds."""
    for _ in range(50):
        alive = []
        for p in psutil.process_iter(["pid", "status"]):
            try:
                if os.getsid(p.pid) == process.pid and p.info["status"] != "zombie":
                    alive.append(p.pid)
            except ProcessLookupError:
                continue
        if not alive:
            break
        time.sleep(0.1)
    return alive


def test_two_processes_make_one_run_and_one_package(project: Any, tmp_path: Path) -> None:
    """From another folder too: the second process must find the script."""
    script = os.path.relpath(project.path / "pipelines/train.py", tmp_path)
    done = subprocess.run(
        ["python", script, "model=gru", "trainer=ddp_cpu", *ENDLESS[2:], "fit.max_epochs=2"],
        cwd=tmp_path,
        env=project.environment(PYTHONPATH=str(project.path / "src")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: gru on demo") == done.stdout.count("epoch 2/2") == 1
    (run,) = runs(project)
    assert run["status"] == "FINISHED"
    assert (project.path / "models/gru/package.json").is_file()
    assert not (project.path / "checkpoints/gru").exists()


def test_the_run_of_a_killed_training_is_closed_by_the_next_command(project: Any) -> None:
    process = start(project, *ENDLESS)
    os.kill(process.pid, signal.SIGKILL)
    assert left_of(process) == []
    assert [r["status"] for r in runs(project)] == ["RUNNING"]
    said = project.run("python", "pipelines/status.py").stdout
    assert "is marked KILLED: its process" in said
    (run,) = runs(project)
    assert run["status"] == "KILLED"
    assert "status.py (process" in run["gatecast.closed"]


def test_ctrl_c_marks_the_run_killed_and_leaves_no_process(project: Any) -> None:
    process = start(project, *ENDLESS)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == 130
    assert left_of(process) == []
    assert [r["status"] for r in runs(project)] == ["KILLED"]


def test_the_closed_form_is_fitted_by_one_process(project: Any) -> None:
    done = project.run("python", "pipelines/train.py", "model=linear", "trainer=ddp_cpu")
    assert done.stdout.count("train: linear on demo") == 1
    assert [r["status"] for r in runs(project)] == ["FINISHED"]
