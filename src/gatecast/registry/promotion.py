"""Promotion: the best variant against the sitting champion, now, on the same origins; then one alias move.

The champion is the version with the alias ``champion`` of the registered model ``gatecast-<source>``;
``previous`` is the one before it. Whatever goes wrong before the alias moves leaves the champion alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast import failpoints
from gatecast.config import Promote
from gatecast.data.panel import Panel
from gatecast.errors import EvaluationError, RegistryError, TrainError
from gatecast.evaluation import baselines, comparison
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.ledger import Ledger, who
from gatecast.registry import aliases, gate, package, retention, tracking
from gatecast.registry.champion import Champion, answering, champion
from gatecast.registry.report import finite


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
    if board["best"] is None:
        return _nothing(panel, rules, board["elsewhere"])
    folder = models / board["best"]
    digest = package.digest(folder)
    if board["digests"].get(board["best"]) != digest:
        raise RegistryError(
            "STALE",
            f"models/{board['best']} is not the package that was evaluated.",
            "Run `dvc repro evaluate`.",
        )
    if os.environ.get("DVC_EXP_NAME"):
        return _experiment(_facts(panel, board, folder, digest, rules))
    model, ledger = tracking.model_name(panel.meta.source), Ledger()
    with ledger.lease(aliases.lease_name(model)) as lease:
        failpoints.reach("promotion: lease taken")
        aliases.settle(ledger, lease, model)
        failpoints.reach("promotion: settled")
        facts = _facts(panel, board, folder, digest, rules)
        if facts["verdict"] == gate.PROMOTE and aliases.withdrawn(ledger, model, digest):
            reason = (
                "it was champion and was rolled back, or replaced by hand; a rollback returns it"
            )
            facts |= {"verdict": gate.ROLLED_BACK, "reason": reason}
        failpoints.reach("promotion: judged")
        if facts["verdict"] == gate.PROMOTE:
            with answering():
                version = _register(folder, panel.meta.source, facts["challenger"], digest)
            failpoints.reach("promotion: version registered")
            facts |= {"champion": version}
            aliases.move(ledger, lease, facts | tracking.lineage())
        else:
            _note(ledger, facts)
    return facts


def _facts(
    panel: Panel, board: dict[str, Any], folder: Path, digest: str, rules: Promote
) -> dict[str, Any]:
    """The comparison and its verdict; ``champion`` is the one that sits."""
    sitting = champion(panel.meta.source)
    verdict, scores = _compare(panel, package.load(folder, digest), digest, sitting, rules)
    version = sitting.version if sitting else None
    return finite(
        {
            "model": tracking.model_name(panel.meta.source),
            "source": panel.meta.source,
            "challenger": board["best"],
            "digest": digest,
            "data_hash": panel.meta.data_hash,
            "metric": rules.metric,
            "scores": scores,
            "champion_before": version,
            "digest_before": sitting.digest if sitting else None,
            "champion": version,
            "elsewhere": board["elsewhere"],
            **verdict.to_json(),
        }
    )


def _experiment(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts inside ``dvc exp run``, where nothing moves and nothing is noted."""
    if facts["verdict"] != gate.PROMOTE:
        return facts
    reason = f"{facts['reason']}; inside a DVC experiment nothing moves"
    return facts | {"verdict": gate.EXPERIMENT, "reason": reason}


def _nothing(panel: Panel, rules: Promote, elsewhere: list[str]) -> dict[str, Any]:
    """The facts where no variant forecasts quantiles."""
    source = panel.meta.source
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
        "digest_before": sitting.digest if sitting else None,
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
    """The verdict and the scores by role, all of them measured now on the same origins."""
    backtest, m = Backtest.of(panel), panel.meta
    shown = backtest.run(challenger)
    naive = backtest.run(baselines.seasonal_naive(m.horizon, m.season_length))
    scores = {
        "challenger": shown.pooled[rules.metric],
        "seasonal_naive": naive.pooled[rules.metric],
    }
    if sitting and sitting.digest == digest:
        return gate.Verdict(gate.CURRENT, f"version {sitting.version} is this very package"), scores
    duel, remark = None, ""
    if sitting:
        try:
            _check_not_trained_on(sitting, panel)
            sits = backtest.run(sitting.predictor)
        except (EvaluationError, TrainError) as error:
            way_out = "Set `promote.replace_incomparable: true` to start over."
            if error.code not in ("NOT-COMPARABLE", "CHANNELS", "NAN-FORECAST"):
                raise
            if rules.replace_incomparable:
                remark = f"; the champion cannot be compared ({error.what})"
            elif error.code == "NAN-FORECAST":
                raise EvaluationError(error.code, f"champion: {error.what}", way_out) from None
            else:
                return gate.Verdict(gate.NOT_COMPARABLE, f"{error.what} {way_out}"), scores
        else:
            scores["champion"] = sits.pooled[rules.metric]
            a, b = (
                comparison.Cells.of(backtest, result.forecast, rules.metric)
                for result in (shown, sits)
            )
            parts = comparison.segments(backtest, a, b, rules.min_segment_series)
            duel = gate.Duel(scores["champion"], comparison.gains(a, b), parts)
    found = gate.Evidence(
        scores["challenger"],
        scores["seasonal_naive"],
        shown.pooled["coverage_95"],
        comparison.matured(backtest),
        duel,
    )
    verdict = gate.judge(found, rules)
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


def _note(ledger: Ledger, facts: dict[str, Any]) -> None:
    """One ledger row per decision that moves nothing; the same decision again (promote always runs) adds none."""
    if facts["verdict"] == gate.CURRENT:
        return
    past = ledger.entries(aliases.KIND, facts["model"])
    same = ("digest", "data_hash", "champion_before", "verdict")
    if not past or any(past[-1].facts.get(k) != facts[k] for k in same):
        row = facts | tracking.lineage() | {"by": who()}
        ledger.append(aliases.KIND, facts["model"], row)
