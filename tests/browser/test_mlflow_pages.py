"""The pages people look at: `make ui` in a real headless browser."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = [
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1600,1200"),
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser is installed (Debian: apt-get install chromium)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(belt: Any) -> Iterator[str]:
    """`make ui`, as the README says, on a free port."""
    port = free_port()
    command = ["make", "-o", ".venv/.ready", "ui", f"PORT={port}"]
    process = subprocess.Popen(
        command, cwd=belt.path, env=belt.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None, "make ui ended by itself"
                time.sleep(0.5)
        yield address
    finally:
        import os

        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def page(address: str, tmp_path: Path, budget: int = 40000) -> str:
    """What the page holds after its scripts have run."""
    command = [
        str(CHROMIUM),
        *QUIET,
        f"--user-data-dir={tmp_path}",
        f"--virtual-time-budget={budget}",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def runs(belt: Any) -> dict[str, str]:
    """Run id of each variant and baseline."""
    client = mlflow.MlflowClient(f"sqlite:///{belt.path}/mlflow.db")
    experiment = client.get_experiment_by_name("gatecast-demo")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return {run.info.run_name: run.info.run_id for run in found} | {"": experiment.experiment_id}


def test_the_comparison_page_shows_all_variants_with_metrics_and_a_plot(
    server: str, runs: dict[str, str], tmp_path: Path
) -> None:
    ids = [run for name, run in runs.items() if name]
    assert len(ids) == 7
    dom = page(
        f'{server}/#/compare-runs?runs={json.dumps(ids, separators=(",", ":"))}&experiments=["{runs[""]}"]',
        tmp_path,
    )
    assert "Comparing 7 Runs" in dom
    for name in ("rnn", "lstm", "gru", "lstm_experts", "linear", "naive", "seasonal_naive"):
        assert name in dom
    assert "test_mase" in dom
    assert "main-svg" in dom  # the parallel coordinates plot is drawn


def test_the_chart_page_plots_the_metrics_of_every_run(
    server: str, runs: dict[str, str], tmp_path: Path
) -> None:
    dom = page(f"{server}/#/experiments/{runs['']}/runs?compareRunsMode=CHART", tmp_path)
    for name in ("rnn", "lstm", "gru", "lstm_experts", "linear", "seasonal_naive"):
        assert name in dom
    assert "main-svg" in dom


def test_a_run_holds_parameters_curves_plots_and_the_model(belt: Any, runs: dict[str, str]) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{belt.path}/mlflow.db")
    run = client.get_run(runs["lstm"])
    assert run.data.params["model.cell"] == "lstm"
    assert run.data.params["task.horizon"] == "24"
    assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 2  # one an epoch
    assert {"test_mase", "test_wql", "train_seconds"} <= set(run.data.metrics)
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert {
        "gatecast.data_hash",
        "gatecast.digest",
        "mlflow.source.git.commit",
        "dvc.data/panel",
    } <= set(run.data.tags)
    assert {a.path for a in client.list_artifacts(run.info.run_id, "plots")} == {
        "plots/error_by_step.png",
        "plots/gates_lstm.png",
        "plots/lstm.png",
        "plots/sensitivity.png",
    }
    assert run.outputs.model_outputs
