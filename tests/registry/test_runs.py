"""The MLflow runs of trainings and evaluations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatecast.core.errors import RegistryError
from gatecast.data.panel import Panel
from gatecast.evaluation import baselines
from gatecast.evaluation.backtest import Backtest
from gatecast.models.config import flat
from gatecast.registry import package
from gatecast.registry.mlflow import parameters, runs, store
from gatecast.registry.mlflow.model import log_package
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of

Write = Callable[..., str]
FIT = Fit(accelerator="cpu", max_epochs=3, steps_per_epoch=5, batch_size=8, threads=1, log_every=2)


def run_of(source: str = "tiny", body: Callable[[str], None] = lambda run_id: None) -> Any:
    """A run around ``body``, as the store remembers it."""
    params = {
        "variant": "gru",
        "model": {"hidden_size": 8, "penalties": [0.1, 1.0]},
        "window": None,
    }
    with runs.training_run(source, "gru", params, {"gatecast.data_hash": "h1"}) as run_id:
        body(run_id)
    return store.client().get_run(run_id)


def only_run(source: str = "tiny") -> Any:
    (run,) = store.client().search_runs([store.experiment(source)])
    return run


def test_a_run_remembers_params_tags_and_that_it_finished(workplace: Path) -> None:
    run = run_of()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "gru"
    assert run.data.params == {
        "variant": "gru",
        "model.hidden_size": "8",
        "model.penalties": "[0.1, 1.0]",
        "window": "None",
    }
    wanted = {
        "gatecast.source": "tiny",
        "gatecast.variant": "gru",
        "gatecast.data_hash": "h1",
        "mlflow.source.name": "pipelines/train.py",
    }
    assert {k: run.data.tags[k] for k in wanted} == wanted


@pytest.mark.parametrize("asked", [False, True])
def test_use_of_the_machine_is_logged_only_where_it_is_asked_for(
    asked: bool, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monitor = "mlflow.system_metrics.system_metrics_monitor.SystemMetricsMonitor.start"
    monkeypatch.setattr(monitor, lambda self: started.append(self))
    with runs.training_run("tiny", "gru", {}, {}, system_metrics=asked):
        pass
    assert bool(started) == asked


def fail(error: BaseException) -> Callable[[str], None]:
    def body(run_id: str) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("boom"), "FAILED"),
        (RegistryError("X", "y"), "FAILED"),
        (SystemExit(143), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else v,
)
def test_a_run_that_fails_says_so_and_lets_the_error_pass(
    error: BaseException, status: str, workplace: Path
) -> None:
    with pytest.raises(type(error)):
        run_of(body=fail(error))
    assert only_run().info.status == status


def test_a_training_logs_losses_by_step_into_its_run(workplace: Path, tiny: Panel) -> None:
    recipe = model_of(cell="gru", hidden_size=4, n_steps=2, n_origins=1)

    def body(run_id: str) -> None:
        logger = lambda: runs.lightning_logger("tiny", run_id)  # noqa: E731
        trainer.train("gru", tiny, recipe, FIT, 1, logger)
        assert store.client().get_run(run_id).info.status == "RUNNING"  # the package is to come

    run = run_of(body=body)
    assert run.info.status == "FINISHED"
    assert only_run().info.run_id == run.info.run_id  # no second run

    def steps(name: str) -> list[int]:
        history = store.client().get_metric_history(run.info.run_id, name)
        return sorted(m.step for m in history)

    assert steps("train_loss") == steps("learning_rate") == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    assert steps("val_loss") == steps("epoch") == [5, 10, 15]


_DYING = """
import os, signal
from gatecast.registry.mlflow import runs
with runs.training_run("tiny", "gru", {}, {}) as run_id:
    print(run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_that_died() -> str:
    done = subprocess.run([sys.executable, "-c", _DYING], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    return done.stdout.split()[0]


def status_of(run_id: str) -> str:
    return str(store.client().get_run(run_id).info.status)


def test_a_run_whose_process_was_killed_is_closed_by_the_next_command(workplace: Path) -> None:
    store.experiment("tiny")
    dead = run_that_died()
    assert status_of(dead) == "RUNNING"
    assert runs.close_dead_runs("tiny") == [dead]
    run = store.client().get_run(dead)
    assert run.info.status == "KILLED"
    assert f"(process {os.getpid()})" in run.data.tags["gatecast.closed"]
    assert runs.close_dead_runs("tiny") == []


def test_a_run_of_a_living_process_is_left_alone(workplace: Path) -> None:
    def body(run_id: str) -> None:
        assert runs.close_dead_runs("tiny") == []
        assert status_of(run_id) == "RUNNING"

    run_of(body=body)


def test_a_run_of_another_host_is_left_alone(workplace: Path) -> None:
    def body(run_id: str) -> None:
        for tag, value in {"gatecast.host": "elsewhere", "gatecast.pid_started": "1"}.items():
            store.client().set_tag(run_id, tag, value)
        assert runs.close_dead_runs("tiny") == []

    run_of(body=body)


def test_a_source_without_an_experiment_has_no_dead_runs(workplace: Path) -> None:
    assert runs.close_dead_runs("never-seen") == []
    assert store.client().get_experiment_by_name("gatecast-never-seen") is None


def test_only_finite_metrics_are_logged(workplace: Path) -> None:
    run = run_of(
        body=lambda run_id: runs.log_metrics(
            run_id, {"good": 1.5, "nan": float("nan"), "inf": float("inf")}
        )
    )
    assert run.data.metrics == {"good": 1.5}


def test_parameters_too_long_for_the_store_are_cut(workplace: Path) -> None:
    with runs.training_run("tiny", "v", {"long": "x" * 10_000}, {}) as run_id:
        pass
    assert set(store.client().get_run(run_id).data.params["long"]) == {"x"}


def test_nested_parameters_are_flattened() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": [1, 2], "members": [{"f": 3}, None]}
    assert parameters.flatten(nested) == {
        **{"a.b.c": "1", "a.d": "None", "e": "[1, 2]"},
        **{"members.1.f": "3", "members.2": "None"},
    }


def test_more_parameters_than_a_store_takes_at_once_are_all_logged(workplace: Path) -> None:
    with runs.training_run("tiny", "v", {f"p{k}": k for k in range(250)}, {}) as run_id:
        pass
    assert len(store.client().get_run(run_id).data.params) == 250


def test_parameters_are_the_usual_settings_and_those_that_are_no_defaults(tiny: Panel) -> None:
    recipe = flat(model_of(cell="gru", hidden_size=8, input_dropout=0.1))
    found = parameters.flatten(parameters.settings("gru", 3, recipe, tiny.meta, Fit(patience=2)))
    wanted = {
        **{"variant": "gru", "seed": "3", "model.cell": "gru", "model.hidden_size": "8"},
        **{"model.input_dropout": "0.1", "model.n_layers": "1", "task.horizon": "6"},
        **{"covariates.future": "['price']", "covariates.static": "['kind']"},
        **{"trainer.patience": "2", "trainer.learning_rate": "0.003"},
    }
    assert {k: found[k] for k in wanted} == wanted
    assert not {"model.layer_norm", "model.activation", "trainer.log_every"} & set(found)


def test_a_closed_form_has_no_parameters_of_a_net(tiny: Panel) -> None:
    recipe = flat(model_of(kind="linear", context_length=24))
    found = parameters.flatten(parameters.settings("linear", 1, recipe, tiny.meta))
    assert {k: v for k, v in found.items() if k.startswith(("model", "trainer"))} == {
        **{"model.kind": "linear", "model.context_length": "24"},
    }


def test_what_nobody_sets_is_a_tag_or_an_input_and_no_parameter(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    """A comparison shows parameters that differ: digests and lengths of panels differ always."""
    digest = write_package(workplace / "models/linear", tiny)
    runs.ensure(workplace / "models/linear")
    run = only_run()
    assert run.data.tags["gatecast.digest"] == digest
    assert digest not in run.data.params.values()
    names = {name.partition(".")[0] for name in run.data.params}
    assert names == {"variant", "seed", "model", "task", "covariates", "spec"}
    assert not {"panel.first", "panel.axis_length"} & set(run.data.params)


def test_the_panel_is_a_dataset_input_with_its_hash_and_span(workplace: Path, tiny: Panel) -> None:
    run = run_of(body=lambda run_id: runs.log_panel(run_id, tiny, "training"))
    (found,) = run.inputs.dataset_inputs
    assert found.dataset.name == "tiny"
    assert tiny.meta.data_hash.startswith(found.dataset.digest)
    assert len(found.dataset.digest) == 36
    profile = json.loads(found.dataset.profile)
    assert profile["data_hash"] == tiny.meta.data_hash
    assert (profile["series"], profile["known"]) == (4, 4 * 300)
    assert profile["span"] == ["2025-01-01 00:00:00", "2025-01-13 11:00:00"]
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}


def test_the_fan_of_every_run_has_the_name_that_a_comparison_looks_for(workplace: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 6)).save(workplace / "gru.png")
    run = run_of(body=lambda run_id: runs.log_fan(run_id, workplace / "gru.png"))
    files = store.client().list_artifacts(run.info.run_id)
    assert [f.path for f in files] == ["forecasts.png"]


def test_a_package_is_found_by_its_digest(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    digest = write_package(workplace / "models/linear", tiny)
    assert runs.find("tiny", digest) is None
    run = run_of(body=lambda run_id: log_package(run_id, workplace / "models/linear"))
    assert run.data.tags["gatecast.digest"] == digest
    assert runs.find("tiny", digest) == run.info.run_id
    assert runs.ensure(workplace / "models/linear") == run.info.run_id
    assert run.info.status == "FINISHED"


def test_a_package_without_a_run_gets_one(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    """Restored from DVC's cache, or the store was deleted."""
    digest = write_package(workplace / "models/linear", tiny)
    run_id = runs.ensure(workplace / "models/linear")
    run = store.client().get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["gatecast.restored"] == "true"
    assert run.data.tags["gatecast.digest"] == digest
    assert run.info.run_name == "linear h6 seed 1"
    assert run.data.tags["gatecast.variant"] == "linear"
    assert run.data.params["model.kind"] == "linear"
    assert run.data.params["spec.context_length"] == "24"
    outcome = package.describe(workplace / "models/linear")["outcome"]
    assert run.data.metrics["train_val_error"] == pytest.approx(outcome["val_error"])
    assert runs.ensure(workplace / "models/linear") == run_id


def test_an_evaluation_is_logged_to_the_run_of_its_package(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    folder = workplace / "models/linear"
    write_package(folder, tiny)
    result = Backtest.of(tiny).run(package.load(folder))
    picture = workplace / "fan.png"
    picture.write_bytes(b"\x89PNG")
    runs.log_evaluation(tiny, result, folder, [picture])
    client, run = store.client(), only_run()
    assert run.data.metrics["test_mase"] == pytest.approx(result.pooled["mase"])
    assert run.data.metrics["test_wql"] == pytest.approx(result.pooled["wql"])
    steps = client.get_metric_history(run.info.run_id, "test_mase_by_step")
    assert {m.step: m.value for m in steps} == pytest.approx(
        dict(zip(result.steps["step"], result.steps["mase"], strict=True))
    )
    assert [f.path for f in client.list_artifacts(run.info.run_id, "plots")] == ["plots/fan.png"]


def test_the_model_of_an_evaluated_package_has_its_name_and_its_scores_on_the_panel(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    folder = workplace / "models/linear"
    write_package(folder, tiny)
    result = Backtest.of(tiny).run(package.load(folder))
    run_id = runs.log_evaluation(tiny, result, folder, [])
    (model,) = store.client().search_logged_models([store.experiment("tiny")])
    assert model.name == "linear"
    assert model.source_run_id == run_id
    scores = {m.key: m for m in model.metrics if m.key.startswith("test_")}
    assert scores["test_mase"].value == pytest.approx(result.pooled["mase"])
    assert scores["test_mase"].dataset_name == "tiny"
    assert tiny.meta.data_hash.startswith(scores["test_mase"].dataset_digest)


def test_a_baseline_has_one_run_for_one_data_set(workplace: Path, tiny: Panel) -> None:
    result = Backtest.of(tiny).run(baselines.naive(tiny.meta.horizon))
    for data_hash in ("h1", "h1", "h2"):
        meta = replace(tiny.meta, data_hash=data_hash)
        runs.log_evaluation(replace(tiny, meta=meta), result, None, [])
    known = store.client().search_runs([store.experiment("tiny")])
    assert sorted(r.data.tags["gatecast.data_hash"] for r in known) == ["h1", "h2"]
    assert {r.info.status for r in known} == {"FINISHED"}
    assert {r.info.run_name for r in known} == {"naive h6"}
    wanted = {"variant": "naive", "model.kind": "baseline", "task.horizon": "6"}
    assert wanted.items() <= known[0].data.params.items()


def test_a_score_that_is_no_number_is_not_logged(workplace: Path, tiny: Panel) -> None:
    result = Backtest.of(tiny).run(baselines.naive(tiny.meta.horizon))
    blind = replace(result, pooled=result.pooled | {"mase": float("nan")})
    runs.log_evaluation(tiny, blind, None, [])
    metrics = only_run().data.metrics
    assert "test_mase" not in metrics
    assert "test_smape" in metrics


def test_an_old_mlruns_folder_does_not_change_the_store(workplace: Path) -> None:
    (workplace / "mlruns/0").mkdir(parents=True)
    assert run_of().info.status == "FINISHED"
    assert list((workplace / "mlruns/0").iterdir()) == []


def test_lineage_names_commit_and_whether_the_code_was_changed(workplace: Path) -> None:
    assert runs.lineage() == {}

    def git(*words: str) -> str:
        user = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        done = subprocess.run(["git", *user, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    Path("code.py").write_text("1")
    git("init", "-q")
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    clean = runs.lineage()
    assert clean == {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "git.changed": "false"}
    Path("code.py").write_text("2")
    assert runs.lineage()["git.changed"] == "true"


def test_lineage_names_what_dvc_made_of_the_data(workplace: Path) -> None:
    Path("dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  window:\n    cmd: x\n    outs:\n"
        "    - path: data/panel\n      md5: abc.dir\n  train:\n    cmd: y\n"
    )
    tags = runs.lineage()
    assert tags["dvc.data/panel"] == "abc.dir"
    assert len(tags["dvc.lock.sha256"]) == 64


def test_lineage_names_the_experiment_of_dvc(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "dvc.experiment" not in runs.lineage()
    monkeypatch.setenv("DVC_EXP_NAME", "small")
    assert runs.lineage()["dvc.experiment"] == "small"
