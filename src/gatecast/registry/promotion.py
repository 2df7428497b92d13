"""Promotion: the best variant against the sitting champion, now, on the same origins; then one alias move.

The champion is the version with the alias ``champion`` of the registered model ``gatecast-<source>``, of events
``gatecast-<source>-event``; ``previous`` is the one before it. Whatever goes wrong before the alias moves leaves the
champion alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core import failpoints
from gatecast.core.errors import EvaluationError, IngestError, RegistryError, TrainError
from gatecast.core.forecast import TASKS, Task, say
from gatecast.core.ledger import Ledger, who
from gatecast.core.numbers import finite
from gatecast.data.panel import Panel, PanelMeta, absent
from gatecast.evaluation.predictor import NetPredictor
from gatecast.registry import aliases, comparison, gate, package, retention
from gatecast.registry.champion import CHAMPION, Champion, champion, version_at
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import runs, store

# version and digest of the sitting champion
Sitting = tuple[int, str | None] | None
# the panel of the comparison with the columns of another one beside its own
PanelFor = Callable[[PanelMeta], Panel]


def decide(
    panel: Panel, reports: Path, models: Path, rules: Promote, panel_for: PanelFor | None = None
) -> tuple[dict[str, Any], list[Exception]]:
    """Send the best variant of each task to the gate; an error of one does not keep the other from its decision.

    Args:
        panel, models, rules, panel_for: see :func:`promote`.
        reports: folder of the boards.

    Returns:
        What goes into ``reports/promotion.json``: the decision on quantiles, with that on events as ``event`` (None:
        no variant forecasts one); and the errors. Who has one is ``failed``.
    """
    decisions, errors = {}, []
    for task in TASKS:
        try:
            board = reports / comparison.BOARDS[task]
            decisions[task] = promote(panel, board, models, rules, task, panel_for)
        except Exception as error:
            errors.append(error)
            what = " ".join(str(error).split()) or type(error).__name__
            decisions[task] = _facts(panel, rules, task, gate.Verdict(gate.FAILED, what))
    event = decisions["event"]
    facts = decisions["quantile"] | {"event": None if event["verdict"] == gate.NOTHING else event}
    return facts, errors


def promote(
    panel: Panel,
    board: Path,
    models: Path,
    rules: Promote,
    task: Task = "quantile",
    panel_for: PanelFor | None = None,
) -> dict[str, Any]:
    """Compare the best variant of a task with the champion and promote it if the gate lets it pass.

    Args:
        panel: data and task of the comparison.
        board: ``leaderboard.json`` of the evaluation, or ``events.json``.
        models: folder of the packages.
        rules: thresholds.
        task: of the forecasts.
        panel_for: gives the panel with the columns that the champion was trained with, if the recipe no longer names
            all of them; None: those of the panel must do.

    Returns:
        The facts of the decision.

    Raises:
        GatecastError: whenever anything cannot be trusted; nothing has moved then.
    """
    evaluated = _read(board, panel)
    if evaluated["best"] is None:
        return _nothing(panel, rules, task, evaluated)
    folder = models / evaluated["best"]
    digest = package.digest(folder)
    if evaluated["digests"].get(evaluated["best"]) != digest:
        raise RegistryError(
            "STALE",
            f"models/{evaluated['best']} is not the package that was evaluated.",
            "Run `dvc repro evaluate`.",
        )
    if os.environ.get("DVC_EXP_NAME"):
        return _experiment(_decision(panel, rules, task, evaluated, folder, digest, panel_for))
    model, ledger = store.model_name(panel.meta.source, task), Ledger()
    with ledger.lease(aliases.lease_name(model)) as lease:
        failpoints.reach("promotion: lease taken")
        aliases.settle(ledger, lease, model)
        failpoints.reach("promotion: settled")
        facts = _decision(panel, rules, task, evaluated, folder, digest, panel_for)
        if facts["verdict"] == gate.PROMOTE and aliases.withdrawn(ledger, model, digest):
            reason = (
                "it was champion and was rolled back, or replaced by hand; a rollback returns it"
            )
            facts |= {"verdict": gate.ROLLED_BACK, "reason": reason}
        failpoints.reach("promotion: judged")
        if facts["verdict"] == gate.PROMOTE:
            with store.answering():
                version = register(folder, model)
            failpoints.reach("promotion: version registered")
            facts |= {"champion": version}
            aliases.move(ledger, lease, facts | runs.lineage())
        else:
            _note(ledger, facts)
    return facts


def _decision(
    panel: Panel,
    rules: Promote,
    task: Task,
    board: dict[str, Any],
    folder: Path,
    digest: str,
    panel_for: PanelFor | None,
) -> dict[str, Any]:
    """The comparison and its verdict; ``champion`` is the sitting one."""
    sitting = champion(panel.meta.source, task=task)
    challenger = package.load(folder, digest)
    verdict, scores = _compare(panel, challenger, digest, sitting, rules, panel_for)
    current = (sitting.version, sitting.digest) if sitting else None
    return _facts(panel, rules, task, verdict, current, board, digest, scores)


def _experiment(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts inside ``dvc exp run``, where nothing moves and nothing is noted."""
    if facts["verdict"] != gate.PROMOTE:
        return facts
    reason = f"{facts['reason']}; inside a DVC experiment nothing moves"
    return facts | {"verdict": gate.EXPERIMENT, "reason": reason}


def _nothing(panel: Panel, rules: Promote, task: Task, board: dict[str, Any]) -> dict[str, Any]:
    """The facts where no variant makes forecasts of the task."""
    sitting = version_at(store.model_name(panel.meta.source, task), CHAMPION)
    current = (int(sitting.version), sitting.tags.get("gatecast.digest")) if sitting else None
    others = ", ".join(board.get("elsewhere", []))
    reason = "no variant forecasts an event"
    if task == "quantile":
        reason = f"{others} forecast events, and no other variant was evaluated"
    return _facts(panel, rules, task, gate.Verdict(gate.NOTHING, reason), current, board)


def _facts(
    panel: Panel,
    rules: Promote,
    task: Task,
    verdict: gate.Verdict,
    sitting: Sitting = None,
    board: dict[str, Any] | None = None,
    digest: str | None = None,
    scores: dict[str, float] | None = None,
) -> dict[str, Any]:
    """What is written of a decision."""
    board = board or {}
    version, before = sitting or (None, None)
    return finite(
        {
            "model": store.model_name(panel.meta.source, task),
            "source": panel.meta.source,
            "challenger": board.get("best"),
            "digest": digest,
            "data_hash": panel.meta.data_hash,
            "metric": comparison.metric(task, rules),
            "scores": scores or {},
            "champion_before": version,
            "digest_before": before,
            "champion": version,
            "elsewhere": board.get("elsewhere", []),
            **verdict.to_json(),
        }
    )


def _read(board: Path, panel: Panel) -> dict[str, Any]:
    try:
        content = json.loads(board.read_text(encoding="utf-8"))
        if content["data_hash"] != panel.meta.data_hash:
            raise RegistryError(
                "STALE",
                f"{board.name} was made on other data than the panel holds.",
                "Run `dvc repro evaluate`.",
            )
        if missing := [key for key in ("best", "digests") if key not in content]:
            raise KeyError(missing[0])
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            "LEADERBOARD",
            f"{board} cannot be read: {error}",
            "Run `dvc repro evaluate` first.",
        ) from None


def _compare(
    panel: Panel,
    challenger: NetPredictor,
    digest: str,
    sitting: Champion | None,
    rules: Promote,
    panel_for: PanelFor | None = None,
) -> tuple[gate.Verdict, dict[str, float]]:
    """The verdict and the scores by role, all of them measured now on the same origins."""
    test = comparison.compare_on(panel, challenger.spec.event, rules)
    measured = test.measure(challenger)
    baseline = test.measure(test.baseline)
    scores = {"challenger": measured.score, test.baseline.name: baseline.score}
    if sitting and sitting.digest == digest:
        return gate.Verdict(gate.CURRENT, f"version {sitting.version} is this very package"), scores
    measured_champion = None
    remark = ""
    if sitting:
        try:
            _check_comparable(sitting, challenger, panel)
            wide = _with_columns_of(sitting, panel, panel_for)
            same = wide is panel
            again = test if same else comparison.compare_on(wide, challenger.spec.event, rules)
            measured_champion = again.measure(sitting.package.predictor)
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
            scores["champion"] = measured_champion.score
    verdict = gate.judge(test.evidence(measured, baseline, measured_champion), rules)
    return replace(verdict, reason=verdict.reason + remark), scores


def _check_comparable(sitting: Champion, challenger: NetPredictor, panel: Panel) -> None:
    """Raise NOT-COMPARABLE if the champion forecasts another event, or has learnt from today's test span."""
    asks, asked = challenger.spec.event, sitting.package.event
    if asks != asked:
        raise EvaluationError(
            "NOT-COMPARABLE",
            f"version {sitting.version} forecasts {say(asked) or 'quantiles'},"
            f" {challenger.name} {say(asks) or 'quantiles'}.",
        )
    then, now = (m.splits.get("validation_end") for m in (sitting.package.meta, panel.meta))
    if then and now and pd.Timestamp(then) > pd.Timestamp(now):
        raise EvaluationError(
            "NOT-COMPARABLE",
            f"version {sitting.version} has learnt from values up to {then}; the test span begins at {now}.",
        )


def _with_columns_of(sitting: Champion, panel: Panel, panel_for: PanelFor | None) -> Panel:
    """The panel, with the columns of the champion beside its own. Raise NOT-COMPARABLE if the feed has lost them."""
    meta = sitting.package.meta
    try:
        return panel_for(meta) if panel_for else panel
    except IngestError as error:
        pairs = (panel.meta.channels, meta.channels), (panel.meta.static, meta.static)
        lost = [str(column) for have, want in pairs for column in absent(have, want)]
        raise EvaluationError(
            "NOT-COMPARABLE",
            f"version {sitting.version} was trained with {', '.join(lost)}, which the recipe no longer names:"
            f" {error.what}",
        ) from None


def register(folder: Path, name: str) -> int:
    """The version of a registered model that holds a package: found by its digest, or made."""
    from mlflow.exceptions import MlflowException

    content, digest, client = package.describe(folder), package.digest(folder), store.client()
    variant, event = content["variant"], content["spec"].get("event")
    what = f"Events ({say(event)})" if event else "Forecasts"
    try:
        client.create_registered_model(
            name,
            description=f"{what} of the source '{content['panel']['source']}'. Made by gatecast.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get("gatecast.digest") == digest and retention.ARCHIVED not in known.tags:
            return int(known.version)
    run_id = runs.ensure(folder)
    outputs = client.get_run(run_id).outputs.model_outputs
    if not outputs:
        raise RegistryError(
            "NO-MODEL",
            f"run {run_id} of {variant} has no logged model.",
            "Train the variant again: dvc repro --force train@" + variant,
        )
    model_id = outputs[-1].model_id
    tags = {"gatecast.digest": digest, "gatecast.variant": variant}
    made = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags=tags | ({"gatecast.event": say(event)} if event else {}),
        description=runs.card_of(run_id) or f"{variant}, package {digest[:12]}",
    )
    return int(made.version)


def _note(ledger: Ledger, facts: dict[str, Any]) -> None:
    """One ledger row per decision that moves nothing; the same decision again (promote always runs) adds none."""
    if facts["verdict"] == gate.CURRENT:
        return
    past = ledger.entries(aliases.KIND, facts["model"])
    same = ("digest", "data_hash", "champion_before", "verdict")
    if not past or any(past[-1].facts.get(k) != facts[k] for k in same):
        row = facts | runs.lineage() | {"by": who()}
        ledger.append(aliases.KIND, facts["model"], row)
