"""The pages people look at: `make ui` in a real headless browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import mlflow
import psutil
import pytest

from tests.browser.chromium import CHROMIUM, Page, browser

VARIANTS = ("lstm", "gru", "linear", "seggru")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser is installed (Debian: apt-get install chromium)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def comparison(belt: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `make ui` names, as the README says, on a free port."""
    command = ["make", "-o", ".venv/.ready", "ui", f"PORT={free_port()}"]
    log = tmp_path_factory.mktemp("ui") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=belt.path, env=belt.environment(), stdout=output, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(240):
            if named := re.search(r"^ui: .*(http://\S+)$", log.read_text(), re.MULTILINE):
                break
            assert process.poll() is None, "make ui ended by itself"
            time.sleep(0.5)
        assert named
        yield named[1]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def server(comparison: str) -> str:
    """Address of the server."""
    return comparison.partition("/#")[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of a browser that has never been here, without MLflow's assistant, which covers a third of it."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def go(page: Page, address: str, *until: str, height: int = 2400) -> str:
    """Open a page, wait for each text, close the assistant, and return what a reader sees."""
    page.open("about:blank")
    page.open(address, height=height)
    for text in until:  # parts of a page arrive one by one
        page.wait(f"document.body.innerText.includes({json.dumps(text)})")
    page.value("document.querySelector('button[aria-label=Close]')?.click()")
    return page.text()


@pytest.fixture(scope="module")
def runs(belt: Any) -> dict[str, str]:
    """Run id of each variant and baseline."""
    client = mlflow.MlflowClient(*[f"sqlite:///{belt.path}/mlflow.db"] * 2)
    experiment = client.get_experiment_by_name("gatecast-demo")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    ids = {run.data.tags["gatecast.variant"]: run.info.run_id for run in found}
    return ids | {"": experiment.experiment_id}


def test_the_page_that_make_ui_names_shows_winner_scores_and_reason(
    comparison: str, belt: Any, page: Page
) -> None:
    best = json.loads((belt.path / "reports/leaderboard.json").read_text())
    order = [f"{name} h24" for name in best["scores"]]
    text = go(page, comparison, "matching runs", "test_mase", *order, "is champion of")
    assert f"{best['best']} is champion of gatecast-demo" in text
    assert "against seasonal naive" in text
    table = text.partition("Sort: test_mase")[2]
    assert sorted(order, key=lambda name: table.index(f"\n{name}")) == order
    assert f"{best['scores'][best['best']]['mase']:.4f}"[:-1] in table


def test_the_comparison_page_shows_variants_side_by_side_with_a_fan_plot_of_each(
    server: str, runs: dict[str, str], page: Page
) -> None:
    ids = json.dumps([run for name, run in runs.items() if name], separators=(",", ":"))
    address = f'{server}/#/compare-runs?runs={ids}&experiments=["{runs[""]}"]'
    go(page, address, "Comparing 6 Runs", "forecasts.png", height=3000)
    trained = {f"{name} h24 seed 1" for name in VARIANTS}
    for name in (
        *trained,
        "naive h24",
        "seasonal_naive h24",
        "model.cell",
        "spec.context_length",
        "test_mase",
    ):
        page.wait(f"document.body.textContent.includes({json.dumps(name)})")
    page.wait("document.querySelectorAll('.main-svg').length > 0")  # parallel coordinates
    page.value("document.querySelector('[artifact-name=\"forecasts.png\"]').click()")
    drawn = "new Set([...document.images].filter(i => i.naturalWidth > 500).map(i => i.src)).size"
    page.wait(f"{drawn} === 6")


def test_the_chart_page_plots_the_metrics_of_every_run(
    server: str, runs: dict[str, str], page: Page
) -> None:
    address = f"{server}/#/experiments/{runs['']}/runs?compareRunsMode=CHART"
    trained = [f"{name} h24 seed 1" for name in VARIANTS]
    go(page, address, *trained, "seasonal_naive")
    page.wait("document.querySelectorAll('.main-svg').length > 5")


def test_the_page_of_a_registered_version_shows_alias_tags_and_card(
    server: str, belt: Any, page: Page
) -> None:
    client = mlflow.MlflowClient(*[f"sqlite:///{belt.path}/mlflow.db"] * 2)
    version = client.get_model_version_by_alias("gatecast-demo", "champion")
    variant = version.tags["gatecast.variant"]
    headings = ("Intended use", "Scores by segment", "Limits", "Training cost", "How to load")
    address = f"{server}/#/models/gatecast-demo/versions/{version.version}"
    text = go(page, address, *headings, "Aliases", "champion")
    assert "champion" in text.split("Aliases")[1].split("Description")[0]
    assert version.tags["gatecast.digest"] in text.replace("\n", "")
    assert f"{variant}: forecasts of demo" in text  # a heading: the Markdown is rendered
    assert "volume high" in text


def test_the_page_of_a_registered_model_lists_its_versions_with_aliases(
    server: str, page: Page
) -> None:
    text = go(page, f"{server}/#/models/gatecast-demo", "Version 1", "gatecast.variant", "champion")
    assert "champion" in text.split("Version 1")[1]


def test_make_ui_listens_on_this_machine_alone_and_sends_no_telemetry(
    server: str, belt: Any
) -> None:
    port = int(server.rpartition(":")[2])
    connections = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
    listening = [c for c in connections if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    environment = psutil.Process(listening[0].pid).environ()
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["DO_NOT_TRACK"] == "true"


def test_a_run_holds_parameters_curves_plots_and_the_model(belt: Any, runs: dict[str, str]) -> None:
    client = mlflow.MlflowClient(*[f"sqlite:///{belt.path}/mlflow.db"] * 2)
    run = client.get_run(runs["lstm"])
    assert run.data.params["model.cell"] == "lstm"
    assert run.data.params["task.horizon"] == "24"
    assert run.data.params["spec.n_steps"] == "14"
    assert run.info.run_name == "lstm h24 seed 1"
    assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 2  # one an epoch
    wanted = {"test_mase", "test_wql", "train_cpu_seconds", "train_peak_memory_mib"}
    assert wanted <= set(run.data.metrics)
    assert not any(name.startswith("system/") for name in run.data.metrics)
    assert {
        "gatecast.data_hash",
        "gatecast.digest",
        "mlflow.source.git.commit",
        "dvc.data/panel",
    } <= set(run.data.tags)
    assert {a.path for a in client.list_artifacts(run.info.run_id, "plots")} == {
        "plots/calibration.png",
        "plots/error_by_step.png",
        "plots/gates_lstm.png",
        "plots/sensitivity.png",
    }
    files = {a.path for a in client.list_artifacts(run.info.run_id) if not a.is_dir}
    assert files == {"card.md", "forecasts.png", "settings.json"}
    assert run.data.tags["mlflow.note.content"].startswith("# lstm: forecasts of demo")
    contexts = {tag.value for data in run.inputs.dataset_inputs for tag in data.tags}
    assert contexts == {"training"}
    (data,) = client.get_run(runs["naive"]).inputs.dataset_inputs
    assert [tag.value for tag in data.tags] == ["testing"]
    assert run.outputs.model_outputs
