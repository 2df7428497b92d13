"""The MLflow adapter: where the store is, a run per trained variant, the model beside it.

The store is SQLite in the project folder (``mlflow.db``, artifacts in ``mlartifacts/``) unless
``MLFLOW_TRACKING_URI`` names a server. An experiment per source, a run per training, found again by the digest of the
package it produced.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecast.core import process
from gatecast.core.errors import RegistryError
from gatecast.core.forecast import Task
from gatecast.core.ledger import shown
from gatecast.data.panel import FUTURE, PAST, TARGET, Panel, PanelMeta

STORE = Path("mlflow.db")
ARTIFACTS = Path("mlartifacts")
CARD = "mlflow.note.content"  # the tag that MLflow's page of a run shows as its description
ROLES = (TARGET, PAST, FUTURE)


def uri() -> str:
    """Address of the tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.absolute()}"


def model_name(source: str, task: Task = "quantile") -> str:
    """Registered model of a source, events apart; that of quantiles is also the name of its experiment."""
    return f"gatecast-{source}" + ("-event" if task == "event" else "")


def client() -> Any:
    """An ``MlflowClient`` on a store that exists.

    Raises:
        RegistryError: STORE if it cannot be reached.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds, not minutes of silence
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    mlflow.set_tracking_uri(uri())
    mlflow.set_registry_uri(uri())
    try:
        with open(
            ".mlflow.lock", "w"
        ) as lock:  # the first process makes the tables, others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = mlflow.MlflowClient()
            found.search_experiments(max_results=1)
        return found
    except Exception as error:
        raise RegistryError(
            "STORE",
            f"the MLflow store {shown(uri())} cannot be reached: {error}",
            "Start it, or correct MLFLOW_TRACKING_URI.",
        ) from None


def experiment(source: str) -> str:
    """Id of the source's experiment (made if it is not there, artifacts in ``mlartifacts/``)."""
    from mlflow.exceptions import MlflowException

    store, name = client(), model_name(source)
    found = store.get_experiment_by_name(name)
    if found is None:
        local = (ARTIFACTS / source).absolute().as_uri() if uri().startswith("sqlite") else None
        try:
            return str(store.create_experiment(name, artifact_location=local))
        except MlflowException:  # somebody else was faster
            found = store.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise RegistryError(
            "EXPERIMENT",
            f"the experiment {name} is deleted.",
            f"Restore it: mlflow experiments restore -x {found.experiment_id if found else '?'}",
        )
    return str(found.experiment_id)


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}, "c": [{"d": 2}]} -> {"a.b": "1", "c.1.d": "2"}."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(k): item for k, item in enumerate(value, 1)}
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": str(value)}
        )
    return flat


def settings(
    variant: str, seed: int, model: dict[str, Any], meta: PanelMeta, **more: Any
) -> dict[str, Any]:
    """The parameters of a training: its recipe, its task, the columns of the panel, and ``more``; nested."""
    task = ("horizon", "season_length", "frequency", "stride", "splits", "quantiles", "event")
    panel = ("timezone", "calendar", "holidays")
    roles = {role: [c.name for c in meta.channels if c.role == role] for role in ROLES}
    return {
        "variant": variant,
        "seed": seed,
        "source": meta.source,
        "model": model,
        "task": {key: getattr(meta, key) for key in task},
        "panel": {key: getattr(meta, key) for key in panel}
        | roles
        | {"static": [c.name for c in meta.static]},
        **more,
    }


def run_name(variant: str, seed: int) -> str:
    """What the run of a training is called."""
    return f"{variant} seed {seed}"


def log_params(run_id: str, params: dict[str, Any]) -> None:
    """Log nested parameters flat, each cut to what a store takes."""
    from mlflow.entities import Param

    flat = [Param(key, value[:6000]) for key, value in flatten(params).items()]
    for begin in range(0, len(flat), 100):  # the most a store takes at once
        client().log_batch(run_id, params=flat[begin : begin + 100])


def log_panel(run_id: str, panel: Panel, context: str) -> None:
    """Log the panel as a dataset input of a run, with its rows, series, span and hash.

    Args:
        context: ``training`` or ``testing``.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    meta = panel.meta
    span = [str(panel.axis[0]), str(panel.axis[panel.last - 1])]
    known = int(panel.observed.sum())
    profile = {"series": panel.n_series, "rows": len(panel.values), "known": known, "span": span}
    columns = {c.name: c.role for c in (*meta.channels, *meta.static)}
    dataset = Dataset(
        meta.source,
        meta.data_hash[:36],  # the most a store takes
        "local",
        json.dumps({"uri": "data/panel"}),
        json.dumps({"columns": columns}),
        json.dumps(profile | {"data_hash": meta.data_hash}),
    )
    tag = InputTag("mlflow.data.context", context)
    client().log_inputs(run_id, [DatasetInput(dataset, [tag])])


def lineage() -> dict[str, str]:
    """Tags that say which code and data a run used."""
    tags: dict[str, str] = {}
    if shutil.which("git") is None:
        return tags
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode == 0:
        tags["mlflow.source.git.commit"] = git.stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False
        )
        tags["git.changed"] = str(bool(changed.stdout.strip())).lower()
    if Path("dvc.lock").is_file():
        import yaml

        text = Path("dvc.lock").read_text(encoding="utf-8")
        tags["dvc.lock.sha256"] = hashlib.sha256(text.encode()).hexdigest()
        stages = (yaml.safe_load(text) or {}).get("stages", {})
        for stage in ("ingest", "window"):
            for out in stages.get(stage, {}).get("outs", []):
                tags[f"dvc.{out['path']}"] = str(out.get("md5"))
    return tags


@contextmanager
def training_run(
    source: str, name: str, params: dict[str, Any], tags: dict[str, str]
) -> Iterator[str]:
    """A run around a training; FINISHED, FAILED or KILLED when the block ends.

    Args:
        source: names the experiment.
        name: of the run.
        params: nested; logged flat.
        tags: added to the lineage, and to what the run says of itself.

    Yields:
        The run id.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    store = client()
    everything = (
        lineage()
        | process.this_process()
        | {
            "gatecast.source": source,
            "gatecast.variant": name,
            "mlflow.source.name": "pipelines/train.py",
        }
        | tags
    )
    run_id = str(store.create_run(experiment(source), run_name=name, tags=everything).info.run_id)
    log_params(run_id, params)
    monitor = SystemMetricsMonitor(run_id, sampling_interval=2)
    monitor.start()
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        monitor.finish()
        try:
            store.set_terminated(run_id, status)
        except Exception as error:  # must not hide what ended the training
            print(f"MLflow run {run_id} stays open, the next command closes it: {error}")


def close_dead_runs(source: str) -> list[str]:
    """Mark as KILLED the runs of a source that are RUNNING although their process, on this host, has ended.

    Runs of other hosts, and of other containers that share the host's name, are left alone.

    Returns:
        Ids of the runs closed.
    """
    store = client()
    found = store.get_experiment_by_name(model_name(source))
    if found is None:
        return []
    mine = f"tags.`gatecast.host` = '{socket.gethostname()}'"
    runs = store.search_runs(
        [found.experiment_id], f"attributes.status = 'RUNNING' and {mine}", max_results=1000
    )
    gone = [r.info.run_id for r in runs if process.gone(r.data.tags)]
    # read again: a process may have closed its run and ended in between
    closed = [r for r in map(store.get_run, gone) if r.info.status == "RUNNING"]
    for run in closed:
        pid, by = run.data.tags["gatecast.pid"], Path(sys.argv[0]).name
        why = f"its process {pid} ended without closing it; {by} (process {os.getpid()}) did"
        store.set_tag(run.info.run_id, "gatecast.closed", why)
        store.set_terminated(run.info.run_id, "KILLED")
        print(f"MLflow run {run.info.run_id} is marked KILLED: {why}")
    return [run.info.run_id for run in closed]


def lightning_logger(source: str, run_id: str) -> Any:
    """Lightning's own MLflow logger, writing into this run, which :func:`training_run` closes."""
    from pytorch_lightning.loggers import MLFlowLogger

    class RunLogger(MLFlowLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            """A store that takes no metrics (a full disk, a server that is away) does not end the training."""
            try:
                super().log_metrics(metrics, step)
            except Exception as error:
                print(f"MLflow does not take metrics of step {step}: {str(error).splitlines()[0]}")

        def finalize(self, status: str = "success") -> None:
            """The package is still to be written."""

    return RunLogger(model_name(source), tracking_uri=uri(), run_id=run_id)


def log_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Log the finite metrics of a run."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    finite = [Metric(k, float(v), now, 0) for k, v in metrics.items() if math.isfinite(v)]
    client().log_batch(run_id, metrics=finite)


def log_package(run_id: str, folder: Path) -> None:
    """Log a package as an MLflow model (models-from-code) of this run and tag the run with its digest.

    The model takes a long table and returns a forecast table; see :mod:`gatecast.registry.mlflow.pyfunc`.
    """
    from mlflow.models import Model

    from gatecast.registry import package
    from gatecast.registry.mlflow import model as mlmodel

    store, digest = client(), package.digest(folder)
    run = store.get_run(run_id)
    logged = store.create_logged_model(
        run.info.experiment_id, "model", run_id, {"gatecast.digest": digest}, run.data.params
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Model.log(
            artifact_path=None,  # deprecated, and still without a default
            flavor=mlmodel.Flavor(folder),
            run_id=run_id,
            model_id=logged.model_id,
            validate_serving_input=False,  # would predict the example
        )
    store.set_tag(run_id, "gatecast.digest", digest)


def find_run(source: str, digest: str) -> str | None:
    """Newest run that produced the package with this digest."""
    runs = client().search_runs(
        [experiment(source)],
        f"tags.`gatecast.digest` = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return runs[0].info.run_id if runs else None


def ensure_run(folder: Path) -> str:
    """The run of a package; made from the package if there is none (restored from DVC's cache, store deleted)."""
    from gatecast.registry import package

    content, digest = package.describe(folder), package.digest(folder)
    source, variant = content["panel"]["source"], content["variant"]
    found = find_run(source, digest)
    if found:
        return found
    seed, meta = content["seed"], PanelMeta.from_json(content["panel"])
    params = settings(variant, seed, content["model"], meta, spec=content["spec"])
    tags = {
        "gatecast.variant": variant,
        "gatecast.data_hash": meta.data_hash,
        "gatecast.restored": "true",
    }
    with training_run(source, run_name(variant, seed), params, tags) as run_id:
        log_package(run_id, folder)
        log_metrics(run_id, {f"train_{k}": float(v) for k, v in content["outcome"].items()})
    return run_id


def log_evaluation(
    source: str, result: Any, folder: Path | None, pictures: list[Path], data_hash: str
) -> str:
    """Log a backtest result to the run of its package; a baseline (no package) has one run per data hash.

    Args:
        source: names the experiment.
        result: a :class:`gatecast.evaluation.backtest.Result`, or of an event
            :class:`gatecast.evaluation.events.EventResult`.
        folder: the package, or None for a baseline.
        pictures: PNG files, logged under ``plots/``.
        data_hash: of the panel.

    Returns:
        The run id.
    """
    store = client()
    run_id = ensure_run(folder) if folder else _baseline_run(source, result.name, data_hash)
    counts = ("series", "series_with_scale", "values")
    log_metrics(run_id, {f"test_{k}": v for k, v in result.pooled.items() if k not in counts})
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    names = [name for name in ("mase", "wape", "auroc", "brier") if name in result.steps]
    steps = result.steps[["step", *names]].dropna()
    by_step = [
        Metric(f"test_{name}_by_step", float(value), now, int(step))
        for name in names
        for step, value in zip(steps["step"], steps[name], strict=True)
    ]
    for begin in range(0, len(by_step), 1000):  # the most a store takes at once
        store.log_batch(run_id, metrics=by_step[begin : begin + 1000])
    log_pictures(run_id, pictures)
    return run_id


def log_fan(run_id: str, picture: Path) -> None:
    """Log a PNG file of forecasts as ``forecasts.png``: files of one name are what a comparison shows side by side."""
    import mlflow

    client().log_image(run_id, mlflow.Image(str(picture)), artifact_file="forecasts.png")


def cost(run_id: str) -> dict[str, float]:
    """What the training of a run cost: its metrics ``train_…seconds`` and ``train_…mib``."""
    metrics = client().get_run(run_id).data.metrics
    return {k: v for k, v in metrics.items() if k.endswith(("_seconds", "_mib"))}


def log_card(run_id: str, card: str) -> None:
    """Log a model card: the file ``card.md`` of the run, and what its page says about it."""
    store = client()
    store.log_text(run_id, card, "card.md")
    store.set_tag(run_id, CARD, card)


def card_of(run_id: str) -> str | None:
    """The model card of a run; None before it was evaluated."""
    return client().get_run(run_id).data.tags.get(CARD)


def log_pictures(run_id: str, pictures: list[Path]) -> None:
    """Log PNG files to a run, under ``plots/``."""
    store = client()
    for picture in pictures:
        store.log_artifact(run_id, str(picture), "plots")


def _baseline_run(source: str, name: str, data_hash: str) -> str:
    store, where = client(), experiment(source)
    found = store.search_runs(
        [where],
        f"tags.`gatecast.variant` = '{name}' and tags.`gatecast.data_hash` = '{data_hash}'",
        max_results=1,
    )
    if found:
        return str(found[0].info.run_id)
    tags = lineage() | {
        "gatecast.source": source,
        "gatecast.variant": name,
        "gatecast.data_hash": data_hash,
    }
    run_id = str(store.create_run(where, run_name=name, tags=tags).info.run_id)
    store.set_terminated(run_id)
    return run_id
