"""Promotion: the best variant against the sitting champion, now, on the same origins; then one alias move.

The champion is the version with the alias ``champion`` of the registered model ``gatecast-<source>``;
``previous`` is the one before it. Whatever goes wrong before the alias moves leaves the champion alone.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast import atomic
from gatecast.config import Promote
from gatecast.data.panel import Panel
from gatecast.errors import EvaluationError, RegistryError, TrainError
from gatecast.evaluation import baselines
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.ledger import Ledger
from gatecast.registry import gate, package, retention, tracking

CHAMPION, PREVIOUS = "champion", "previous"


@dataclass(frozen=True)
class Champion:
    """A registered version, resolved once: use the number and the digest, never the alias again."""

    model: str
    version: int
    digest: str
    run_id: str
    variant: str
    predictor: NetPredictor


def champion(source: str, alias: str = CHAMPION) -> Champion | None:
    """Resolve and load the version behind an alias; None if nothing was promoted yet.

    Raises:
        RegistryError: STORE, DIGEST, PACKAGE-…
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    store, name = tracking.client(), tracking.model_name(source)
    try:
        found = store.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in (
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        ):  # no such model, no such alias
            return None
        raise RegistryError(
            "STORE", f"the registry does not answer: {error}", "Look at the MLflow store."
        ) from None
    digest = found.tags.get("gatecast.digest")
    if not digest:
        raise RegistryError(
            "FOREIGN",
            f"{name} version {found.version} was not registered by gatecast.",
            "Point the alias at a version that was.",
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            local = mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{name}/{found.version}/artifacts", dst_path=folder
            )
            inside = next(
                iter(sorted(Path(local).rglob("package.json"))), Path(local) / "package.json"
            )
            predictor = package.load(inside.parent, digest)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            "ARTIFACT",
            f"{name} version {found.version} cannot be fetched: {error}",
            "Restore its artifacts, or promote another version.",
        ) from None
    return Champion(
        name,
        int(found.version),
        digest,
        str(found.run_id),
        str(found.tags.get("gatecast.variant")),
        predictor,
    )


def promote(panel: Panel, leaderboard: Path, models: Path, rules: Promote) -> dict[str, Any]:
    """Compare the leaderboard's best variant with the champion and promote it if the gate lets it pass.

    Args:
        panel: data and task of the comparison.
        leaderboard: ``leaderboard.json`` of the evaluation.
        models: folder of the packages.
        rules: thresholds.

    Returns:
        What goes into ``reports/promotion.json``.

    Raises:
        GatecastError: whenever anything cannot be trusted; nothing has moved then.
    """
    board = _read(leaderboard, panel)
    variant, source = board["best"], panel.meta.source
    if variant is None:
        return _nothing(source, panel, rules, board["elsewhere"])
    folder = models / variant
    digest = package.digest(folder)
    if board["digests"].get(variant) != digest:
        raise RegistryError(
            "STALE",
            f"models/{variant} is not the package that was evaluated.",
            "Run `dvc repro evaluate`.",
        )
    sitting = champion(source)
    ledger = Ledger()  # opened before anything moves
    verdict, scores = _compare(panel, package.load(folder, digest), digest, sitting, rules)
    if verdict.verdict == gate.PROMOTE and _was_rolled_back(ledger, source, digest, sitting):
        reason = "it was the champion, and somebody put another version in its place since"
        verdict = gate.Verdict(gate.ROLLED_BACK, reason, verdict.checks)
    facts = {
        "model": tracking.model_name(source),
        "source": source,
        "challenger": variant,
        "digest": digest,
        "data_hash": panel.meta.data_hash,
        "metric": rules.metric,
        "scores": scores,
        "champion_before": sitting.version if sitting else None,
        "elsewhere": board["elsewhere"],
        **verdict.to_json(),
    }
    lineage = tracking.lineage()
    experiment = bool(os.environ.get("DVC_EXP_NAME"))
    if verdict.verdict == gate.PROMOTE and experiment:
        return facts | {
            "verdict": "experiment",
            "reason": f"{verdict.reason}; inside a DVC experiment nothing moves",
            "champion": facts["champion_before"],
        }
    if verdict.verdict == gate.PROMOTE:
        version = _register(folder, source, variant, digest)
        _move(source, version, sitting)
        facts |= {"champion": version}
    else:
        facts |= {"champion": facts["champion_before"]}
    if not experiment:
        _note(ledger, facts, lineage)
    return facts


def _nothing(source: str, panel: Panel, rules: Promote, elsewhere: list[str]) -> dict[str, Any]:
    """The facts where no variant forecasts quantiles."""
    sitting = champion(source)
    version = sitting.version if sitting else None
    return {
        "model": tracking.model_name(source),
        "source": source,
        "challenger": None,
        "digest": None,
        "data_hash": panel.meta.data_hash,
        "metric": rules.metric,
        "scores": {},
        "champion_before": version,
        "champion": version,
        "elsewhere": elsewhere,
        "verdict": gate.NOTHING,
        "reason": f"{', '.join(elsewhere)} forecast events, and no other variant was evaluated",
        "checks": [],
    }


def _read(leaderboard: Path, panel: Panel) -> dict[str, Any]:
    try:
        board = json.loads(leaderboard.read_text(encoding="utf-8"))
        if board["data_hash"] != panel.meta.data_hash:
            raise RegistryError(
                "STALE",
                "the leaderboard was made on other data than the panel holds.",
                "Run `dvc repro evaluate`.",
            )
        needed = ("best", "digests", "elsewhere")
        if missing := [key for key in needed if key not in board]:
            raise KeyError(missing[0])
        return dict(board)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            "LEADERBOARD",
            f"{leaderboard} cannot be read: {error}",
            "Run `dvc repro evaluate` first.",
        ) from None


def _compare(
    panel: Panel, challenger: NetPredictor, digest: str, sitting: Champion | None, rules: Promote
) -> tuple[gate.Verdict, dict[str, float]]:
    backtest = Backtest.of(panel)
    score = lambda predictor: backtest.run(predictor).pooled[rules.metric]  # noqa: E731
    scores = {
        "challenger": score(challenger),
        "seasonal_naive": score(
            baselines.seasonal_naive(panel.meta.horizon, panel.meta.season_length)
        ),
    }
    if sitting and sitting.digest == digest:
        return gate.Verdict(gate.CURRENT, f"version {sitting.version} is this very package"), scores
    champion_score, remark = None, ""
    if sitting:
        try:
            _check_not_trained_on(sitting, panel)
            champion_score = scores["champion"] = score(sitting.predictor)
        except (EvaluationError, TrainError) as error:
            if (
                error.code == "NAN-FORECAST"
            ):  # a champion that is broken on this data keeps nobody out
                remark = f"; the champion gives no finite forecast ({error.what})"
            elif error.code not in ("NOT-COMPARABLE", "CHANNELS"):
                raise
            elif not rules.replace_incomparable:
                way_out = "Set `promote.replace_incomparable: true` to start over."
                return gate.Verdict(gate.NOT_COMPARABLE, f"{error.what} {way_out}"), scores
    verdict = gate.judge(scores["challenger"], scores["seasonal_naive"], champion_score, rules)
    return replace(verdict, reason=verdict.reason + remark), scores


def _check_not_trained_on(sitting: Champion, panel: Panel) -> None:
    """Raise NOT-COMPARABLE if the champion has learnt from the span it would be tested on."""
    then, now = (m.splits.get("validation_end") for m in (sitting.predictor.meta, panel.meta))
    if then and now and pd.Timestamp(then) > pd.Timestamp(now):
        raise EvaluationError(
            "NOT-COMPARABLE",
            f"version {sitting.version} has learnt from values up to {then}; the test span begins at {now}.",
        )


def _register(folder: Path, source: str, variant: str, digest: str) -> int:
    """The registered version of a package: found by its digest, or made."""
    from mlflow.exceptions import MlflowException

    store, name = tracking.client(), tracking.model_name(source)
    try:
        store.create_registered_model(
            name, description=f"Forecasts of the source '{source}'. Made by gatecast."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for known in store.search_model_versions(f"name = '{name}'"):
        if known.tags.get("gatecast.digest") == digest and retention.ARCHIVED not in known.tags:
            return int(known.version)
    run_id = tracking.ensure_run(folder)
    outputs = store.get_run(run_id).outputs.model_outputs
    if not outputs:
        raise RegistryError(
            "NO-MODEL",
            f"run {run_id} of {variant} has no logged model.",
            "Train the variant again: dvc repro --force train@" + variant,
        )
    model_id = outputs[-1].model_id
    made = store.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={"gatecast.digest": digest, "gatecast.variant": variant},
        description=tracking.card_of(run_id) or f"{variant}, package {digest[:12]}",
    )
    return int(made.version)


def _move(source: str, version: int, sitting: Champion | None) -> None:
    store, name = tracking.client(), tracking.model_name(source)
    if sitting:
        store.set_registered_model_alias(name, PREVIOUS, str(sitting.version))
    store.set_registered_model_alias(name, CHAMPION, str(version))


def _was_rolled_back(ledger: Ledger, source: str, digest: str, sitting: Champion | None) -> bool:
    """Whether this package is the last one promoted, but no longer the champion: the alias was moved by hand."""
    past = ledger.entries("promotion", tracking.model_name(source))
    moves = [e.facts for e in past if e.facts.get("verdict") == gate.PROMOTE]
    return bool(
        sitting
        and moves
        and moves[-1]["digest"] == digest
        and moves[-1]["champion"] != sitting.version
    )


def _note(ledger: Ledger, facts: dict[str, Any], lineage: dict[str, str]) -> None:
    """One ledger row per decision; the same decision again (promote always runs) adds none.

    That a package is champion already is no decision, unless the row of its promotion was lost.
    """
    keys = ("challenger", "digest", "data_hash", "metric", "scores", "champion_before", "champion")
    keep = {k: facts[k] for k in (*keys, "verdict", "reason")}
    past = ledger.entries("promotion", facts["model"])
    if keep["verdict"] == gate.CURRENT:
        known = any(e.facts.get("digest") == keep["digest"] for e in past)
    else:
        same = ("digest", "data_hash", "champion_before", "verdict")
        known = bool(past) and all(past[-1].facts.get(k) == keep[k] for k in same)
    if keep["verdict"] == gate.PROMOTE or not known:
        ledger.append("promotion", facts["model"], keep | lineage)


def write(report: Path, facts: dict[str, Any]) -> None:
    """Write ``promotion.json``; a check whose value is not finite becomes null."""
    text = json.dumps(facts, allow_nan=True)
    atomic.write_json(report, json.loads(text, parse_constant=lambda _: None))
