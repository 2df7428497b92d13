"""MLflow runs: one per training, in the source's experiment, found again by the digest of the package it produced.

with runs.training_run("demo", "gru seed 1", params, tags) as run_id:
    runs.log_panel(run_id, panel, "training")
    ...
    runs.log_metrics(run_id, {"val_loss": 0.31})
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecast.core import process
from gatecast.data.panel import Panel, PanelMeta
from gatecast.registry import package
from gatecast.registry.mlflow import pages, parameters, store
from gatecast.registry.mlflow.model import log_package

_OF_PANEL = ("calendar", "holidays", "timezone", "stride", "splits", "quantiles", "event")
_COLOUR = "mlflow.runColor"

# The most that a store takes: characters of a data set's hash, entries of one request.
_HASH_LENGTH = 36
_METRICS = 1000


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
    profile |= {key: getattr(meta, key) for key in _OF_PANEL}
    columns = {c.name: c.role for c in (*meta.channels, *meta.static)}
    dataset = Dataset(
        meta.source,
        meta.data_hash[:_HASH_LENGTH],
        "local",
        json.dumps({"uri": "data/panel"}),
        json.dumps({"columns": columns}),
        json.dumps(profile | {"data_hash": meta.data_hash}),
    )
    tag = InputTag("mlflow.data.context", context)
    store.client().log_inputs(run_id, [DatasetInput(dataset, [tag])])


def lineage() -> dict[str, str]:
    """Tags that say which code and which data a run used, and in which experiment of DVC."""
    experiment = os.environ.get("DVC_EXP_NAME")
    tags: dict[str, str] = {"dvc.experiment": experiment} if experiment else {}
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
    source: str,
    name: str,
    params: dict[str, Any],
    tags: dict[str, str],
    system_metrics: bool = False,
) -> Iterator[str]:
    """A run around a training; FINISHED, FAILED or KILLED when the block ends.

    Args:
        source: whose experiment it goes to.
        name: of the run.
        params: nested; logged flat.
        tags: of the run, beside those of its lineage and its process.
        system_metrics: log use of processor, memory, disk and network every two seconds, too.

    Yields:
        The run id.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    client, experiment = store.client(), store.experiment(source)
    named = {
        "gatecast.source": source,
        "gatecast.variant": name,
        "mlflow.source.name": "pipelines/train.py",
    }
    tags = lineage() | process.this_process() | named | tags
    tags |= {_COLOUR: pages.colour(tags["gatecast.variant"])}
    run_id = str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    parameters.log(run_id, params)
    monitor = SystemMetricsMonitor(run_id, sampling_interval=2) if system_metrics else None
    if monitor:
        monitor.start()
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        if monitor:
            monitor.finish()
        try:
            client.set_terminated(run_id, status)
        # must not hide what ended the training
        except Exception as error:
            print(f"MLflow run {run_id} stays open, the next command closes it: {error}")


def close_dead_runs(source: str) -> list[str]:
    """Mark as KILLED the runs of a source that are RUNNING although their process, on this host, has ended.

    Runs of other hosts, and of other containers that share the host's name, are left alone.

    Returns:
        Ids of the closed runs.
    """
    client = store.client()
    experiment = client.get_experiment_by_name(store.model_name(source))
    if experiment is None:
        return []
    open_here = f"attributes.status = 'RUNNING' and tags.`gatecast.host` = '{socket.gethostname()}'"
    runs = client.search_runs([experiment.experiment_id], open_here, max_results=1000)
    dead = [r.info.run_id for r in runs if process.gone(r.data.tags)]
    # read again: a process may have closed its run and ended in between
    closed = [r for r in map(client.get_run, dead) if r.info.status == "RUNNING"]
    for run in closed:
        pid, by = run.data.tags["gatecast.pid"], Path(sys.argv[0]).name
        why = f"its process {pid} ended without closing it; {by} (process {os.getpid()}) did"
        client.set_tag(run.info.run_id, "gatecast.closed", why)
        client.set_terminated(run.info.run_id, "KILLED")
        print(f"MLflow run {run.info.run_id} is marked KILLED: {why}")
    return [run.info.run_id for run in closed]


def lightning_logger(source: str, run_id: str) -> Any:
    """Lightning's own MLflow logger, writing into this run, which :func:`training_run` closes."""
    from pytorch_lightning.loggers import MLFlowLogger

    class RunLogger(MLFlowLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            """A store that refuses metrics (a full disk, a server that is down) does not end the training."""
            try:
                super().log_metrics(metrics, step)
            except Exception as error:
                print(
                    f"MLflow does not accept the metrics of step {step}: {str(error).splitlines()[0]}"
                )

        def finalize(self, status: str = "success") -> None:
            """The package is still to be written."""

    return RunLogger(store.model_name(source), tracking_uri=store.uri(), run_id=run_id)


def log_settings(run_id: str, settings: dict[str, Any]) -> None:
    """Log all settings of a training, as ``settings.json``."""
    store.client().log_dict(run_id, settings, "settings.json")


def log_metrics(
    run_id: str, metrics: Mapping[str, float], of: Mapping[str, str] | None = None
) -> None:
    """Log the finite metrics of a run.

    Args:
        run_id, metrics: of it.
        of: the ids of the model and the dataset that they belong to, as :class:`mlflow.entities.Metric` takes them.
    """
    from mlflow.entities import Metric

    now, of = int(time.time() * 1000), of or {}
    finite = [Metric(k, float(v), now, 0, **of) for k, v in metrics.items() if math.isfinite(v)]
    store.client().log_batch(run_id, metrics=finite)


def find(source: str, digest: str) -> str | None:
    """Id of the newest run that produced the package with this digest."""
    runs = store.client().search_runs(
        [store.experiment(source)],
        f"tags.`gatecast.digest` = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return runs[0].info.run_id if runs else None


def ensure(folder: Path) -> str:
    """Id of the run of a package, logged now if there is none (restored from DVC's cache, or the store was deleted)."""
    content = package.describe(folder)
    source, variant, seed = content["panel"]["source"], content["variant"], content["seed"]
    known = find(source, package.digest(folder))
    if known:
        return known
    meta = PanelMeta.from_json(content["panel"])
    params = parameters.settings(variant, seed, content["model"], meta)
    params |= parameters.sizes(content["spec"])
    tags = {
        "gatecast.variant": variant,
        "gatecast.data_hash": meta.data_hash,
        "gatecast.restored": "true",
    }
    name = pages.run_name(variant, meta.horizon, seed)
    with training_run(source, name, params, tags) as run_id:
        log_package(run_id, folder)
        log_metrics(run_id, {f"train_{k}": float(v) for k, v in content["outcome"].items()})
    return run_id


def log_evaluation(panel: Panel, result: Any, folder: Path | None, pictures: list[Path]) -> str:
    """Log a backtest result to the run of its package; a baseline (no package) has one run per data hash.

    The scores are logged to the package's MLflow model, too, beside the dataset that they were measured on.

    Args:
        panel: what was forecast.
        result: a :class:`gatecast.evaluation.backtest.Result`, or of an event
            :class:`gatecast.evaluation.events.EventResult`.
        folder: the package, or None for a baseline.
        pictures: PNG files, logged under ``plots/``.

    Returns:
        The run id.
    """
    from mlflow.entities import Metric

    run_id = ensure(folder) if folder else _baseline_run(panel.meta, result.name)
    log_panel(run_id, panel, "testing")
    counts = ("series", "series_with_scale", "values")
    scores = {f"test_{k}": v for k, v in result.pooled.items() if k not in counts}
    log_metrics(run_id, scores, _measured_on(run_id, panel.meta))
    now = int(time.time() * 1000)
    names = [name for name in ("mase", "wape", "auroc", "brier") if name in result.steps]
    steps = result.steps[["step", *names]].dropna()
    by_step = [
        Metric(f"test_{name}_by_step", float(value), now, int(step))
        for name in names
        for step, value in zip(steps["step"], steps[name], strict=True)
    ]
    for begin in range(0, len(by_step), _METRICS):
        store.client().log_batch(run_id, metrics=by_step[begin : begin + _METRICS])
    log_pictures(run_id, pictures)
    return run_id


def _measured_on(run_id: str, meta: PanelMeta) -> dict[str, str]:
    """What links a score to the MLflow model of a run and to the dataset; a baseline has no model."""
    outputs = store.client().get_run(run_id).outputs
    linked = {"dataset_name": meta.source, "dataset_digest": meta.data_hash[:_HASH_LENGTH]}
    if outputs and outputs.model_outputs:
        linked["model_id"] = outputs.model_outputs[-1].model_id
    return linked


def log_fan(run_id: str, picture: Path) -> None:
    """Log a PNG file of forecasts as ``forecasts.png``: MLflow compares files of one name side by side."""
    import mlflow

    store.client().log_image(run_id, mlflow.Image(str(picture)), artifact_file="forecasts.png")


def cost(run_id: str) -> dict[str, float]:
    """What the training of a run cost: its metrics ``train_…seconds`` and ``train_…mib``."""
    metrics = store.client().get_run(run_id).data.metrics
    return {k: v for k, v in metrics.items() if k.endswith(("_seconds", "_mib"))}


def log_card(run_id: str, card: str) -> None:
    """Log a model card: as ``card.md``, and as the description on the run's page."""
    client = store.client()
    client.log_text(run_id, card, "card.md")
    client.set_tag(run_id, pages.NOTE, card)


def card_of(run_id: str) -> str | None:
    """The model card of a run; None before it was evaluated."""
    return store.client().get_run(run_id).data.tags.get(pages.NOTE)


def log_pictures(run_id: str, pictures: list[Path]) -> None:
    """Log PNG files to a run, under ``plots/``."""
    client = store.client()
    for picture in pictures:
        client.log_artifact(run_id, str(picture), "plots")


def _baseline_run(meta: PanelMeta, name: str) -> str:
    client, experiment = store.client(), store.experiment(meta.source)
    known = client.search_runs(
        [experiment],
        f"tags.`gatecast.variant` = '{name}' and tags.`gatecast.data_hash` = '{meta.data_hash}'",
        max_results=1,
    )
    if known:
        return str(known[0].info.run_id)
    tags = lineage() | {
        "gatecast.source": meta.source,
        "gatecast.variant": name,
        "gatecast.data_hash": meta.data_hash,
        _COLOUR: pages.colour(name),
    }
    run = client.create_run(experiment, run_name=pages.run_name(name, meta.horizon), tags=tags)
    run_id = str(run.info.run_id)
    parameters.log(run_id, parameters.settings(name, None, {"kind": "baseline"}, meta))
    client.set_terminated(run_id)
    return run_id
