"""Where a forecast comes from, and what a model version has forecast.

forecast row -> model version -> MLflow run -> git commit, dvc.lock, data, parameters; and back
"""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gatecast.core.errors import RegistryError, ScoringError
from gatecast.core.forecast import Task
from gatecast.core.ledger import Ledger
from gatecast.registry.mlflow import store
from gatecast.scoring import config, sinks
from gatecast.scoring.sinks import Sink
from gatecast.scoring.store import task_of

# The tags of a training's run that are reported.
_TAGS = {
    "git_commit": "mlflow.source.git.commit",
    "git_changed": "git.changed",
    "dvc_lock_sha256": "dvc.lock.sha256",
    "data_hash": "gatecast.data_hash",
}


def of_forecast(source: str | None, run_key: str, sink: Sink | None = None) -> dict[str, Any]:
    """The lineage of a published scoring run: that of its version, and its manifest as ``forecast``.

    Args:
        source: whose run; None: of any source.
        run_key: as on every row, or the folder ``forecasts/<source>/<run key>``.

    Raises:
        ScoringError: NO-RUN; RegistryError: as :func:`of_version`.
    """
    key = Path(run_key).name
    published = [m for m in _published(source, sink) if m["run_key"] == key]
    if not published:
        where = f" of {source}" if source else ""
        raise ScoringError(
            "NO-RUN",
            f"no scoring run{where} has the key {key}, neither in the folder nor in the ledger.",
            "Every row has it as `run_key`, and the folder in forecasts/ is named after it.",
        )
    forecast = published[0]
    facts = of_version(forecast["source"], int(forecast["version"]), sink, task_of(forecast))
    if facts["digest"] != forecast["digest"]:
        raise RegistryError(
            "DIGEST",
            f"{facts['model']} version {facts['version']} is not the package that wrote {key}:"
            f" {facts['digest'][:12]}, not {forecast['digest'][:12]}.",
            "The registry was rebuilt since; trust what the rows say.",
        )
    return {"forecast": forecast, **facts}


def of_digest(
    source: str, digest: str, sink: Sink | None = None, task: Task = "quantile"
) -> dict[str, Any]:
    """The lineage of the registered version of a package.

    Args:
        source: whose.
        digest: of the package, or its first digits.
        sink: where forecasts are published.
        task: of the source's two models, which one.

    Raises:
        RegistryError: NO-VERSION unless exactly one has the digest; as :func:`of_version`.
    """
    name = store.model_name(source, task)
    versions = store.client().search_model_versions(f"name = '{name}'")
    matching = [v for v in versions if v.tags.get("gatecast.digest", "").startswith(digest)]
    if not matching:
        raise RegistryError(
            "NO-VERSION",
            f"no version of {name} has a package whose digest begins with {digest}.",
            "Check the digest, or give `version=…`; `event=true` looks among models of events.",
        )
    if len(matching) > 1:
        raise RegistryError(
            "NO-VERSION",
            f"{len(matching)} versions of {name} have a package whose digest begins with {digest}.",
            "Give more of the digest, or `version=…`.",
        )
    return of_version(source, int(matching[0].version), sink, task)


def of_version(
    source: str, version: int, sink: Sink | None = None, task: Task = "quantile"
) -> dict[str, Any]:
    """The lineage of a registered version of one of the source's two models.

    Returns:
        ``model``, ``version``, ``variant``, ``digest``, ``aliases``, ``registered``; ``run`` (id, name, status, start,
        commit, dvc.lock, data hash), ``parameters``, ``scores``; ``decisions`` of the gate; ``forecasts``: manifests of
        all scoring runs of the version, with ``folder`` (None: deleted) and ``in_ledger``.

    Raises:
        RegistryError: NO-VERSION, STORE.
    """
    from mlflow.exceptions import MlflowException

    client, name = store.client(), store.model_name(source, task)
    try:
        found = client.get_model_version(name, str(version))
        run = client.get_run(found.run_id)
    except MlflowException as error:
        raise RegistryError(
            "NO-VERSION",
            f"{name} has no version {version} with a run: {error}",
            "Look at the registry: make ui.",
        ) from None
    digest = found.tags.get("gatecast.digest", "")
    decided = Ledger().entries("promotion", name)
    scores = {k: v for k, v in sorted(run.data.metrics.items()) if k.startswith("test_")}
    return {
        "model": name,
        "version": version,
        "variant": found.tags.get("gatecast.variant"),
        "digest": digest,
        "aliases": list(found.aliases),
        "registered": found.creation_timestamp,
        "run": {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            "start": run.info.start_time,
            **{key: run.data.tags.get(tag) for key, tag in _TAGS.items()},
        },
        "parameters": dict(sorted(run.data.params.items())),
        "scores": {k: v for k, v in scores.items() if not k.endswith("_by_step")},
        "decisions": [
            {"at": e.at, "verdict": e.facts.get("verdict"), "reason": e.facts.get("reason")}
            for e in decided
            if e.facts.get("digest") == digest
        ],
        "forecasts": [
            m
            for m in _published(source, sink)
            if (m["model"], int(m["version"]), m["digest"]) == (name, version, digest)
        ],
    }


def recently_used(
    source: str, days: int, sink: Sink | None = None, task: Task = "quantile"
) -> dict[int, str]:
    """Versions whose forecasts of the last days still exist, and which of their runs that is."""
    after = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    return {
        int(m["version"]): f"forecasts {m['folder']} are of {m['scored_at'][:10]}"
        for m in _published(source, sink)
        if m["folder"] and m["scored_at"] >= after and task_of(m) == task
    }


def _published(source: str | None, sink: Sink | None) -> list[dict[str, Any]]:
    """Manifests of all scoring runs, those whose folder was deleted included, oldest first."""
    recorded = {e.facts["run_key"]: e.facts for e in Ledger().entries("scoring", source)}
    sink = sink or sinks.sink(config.SinkSettings())
    there = {m["run_key"]: m for m in sink.manifests(source)}
    every = [
        manifest
        | {
            "folder": sink.where(manifest["source"], key) if key in there else None,
            "in_ledger": key in recorded,
        }
        for key, manifest in (recorded | there).items()
    ]
    return sorted(every, key=lambda m: (m["scored_at"], m["run_key"]))


def render(facts: dict[str, Any]) -> str:
    """One page of text."""
    run = facts["run"]
    alias = "".join(f" @{name}" for name in facts["aliases"])
    changed = " with changes" if run["git_changed"] == "true" else ""
    lines: list[tuple[str, str]] = []
    if forecast := facts.get("forecast"):
        what = (
            f"{forecast['series']:,} series x {forecast['horizon']} steps from {forecast['cutoff']}"
        )
        lines += [
            (
                "forecast",
                f"{forecast['folder'] or forecast['run_key'] + ' (folder is gone)'}: {what}",
            ),
            ("", f"scored {forecast['scored_at'][:19]} UTC, on data {forecast['data_hash']}"),
        ]
    lines += [
        ("model", f"{facts['model']} version {facts['version']}{alias} ({facts['variant']})"),
        ("package", facts["digest"]),
        ("MLflow run", f"{run['id']} ({run['name']}, {run['status']})"),
        ("git commit", f"{run['git_commit'] or 'unknown'}{changed}"),
        ("dvc.lock", run["dvc_lock_sha256"] or "unknown"),
        ("data", run["data_hash"] or "unknown"),
        ("parameters", ", ".join(f"{k}={v}" for k, v in facts["parameters"].items())),
        ("scores", ", ".join(f"{k} {v:.4g}" for k, v in facts["scores"].items()) or "none"),
    ]
    for k, d in enumerate(facts["decisions"]):
        lines.append(("" if k else "decisions", f"{d['at']}: {d['verdict']}: {d['reason']}"))
    wrote = [
        f"{m['folder'] or m['run_key'] + ' (folder is gone)'}: {m['series']:,} series from {m['cutoff']},"
        f" scored {m['scored_at'][:19]}{'' if m['in_ledger'] else ', not in the ledger'}"
        for m in facts["forecasts"]
    ]
    lines += [("" if k else "forecasts", text) for k, text in enumerate(wrote or ["none"])]
    return "\n".join(
        textwrap.fill(
            text,
            width=118,
            initial_indent=f"{label:13}",
            subsequent_indent=" " * 13,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, text in lines
    )
