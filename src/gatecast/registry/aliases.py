"""How the alias ``champion`` moves: the decision goes to the ledger, then the alias moves, then the ledger says so.

    1  ledger row `promotion`         verdict, champion, champion_before
    2  tags of the version, alias `previous`, alias `champion`
    3  ledger row `promotion_done`

A process may die between any two of these. The next holder of the lease finishes the move (:func:`settle`), so the
alias always names a version that the ledger says was promoted. An alias that is neither where the last row puts it
nor where it was before was moved by hand: the ledger records that, and the alias stays.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from gatecast.core import failpoints
from gatecast.core.errors import RegistryError
from gatecast.core.forecast import Task
from gatecast.core.ledger import Entry, Lease, Ledger, who
from gatecast.registry import gate
from gatecast.registry.champion import (
    CHAMPION,
    PREVIOUS,
    Champion,
    champion,
    version_at,
)
from gatecast.registry.mlflow import pages, runs, store

KIND, DONE = "promotion", "promotion_done"
MOVES = (gate.PROMOTE, gate.ROLLBACK, gate.BY_HAND)


def lease_name(model: str) -> str:
    """Name of the lease under which the aliases of a registered model move."""
    return f"promotion {model}"


def moves(ledger: Ledger, model: str) -> list[Entry]:
    """Ledger rows of the moves of the alias, oldest first."""
    return [e for e in ledger.entries(KIND, model) if e.facts.get("verdict") in MOVES]


def champion_then(ledger: Ledger, model: str, moment: datetime) -> int | None:
    """Number of the version that was champion at a moment; None if none was."""
    past = [e for e in moves(ledger, model) if datetime.fromisoformat(e.at) <= moment]
    return past[-1].facts["champion"] if past else None


def returns(ledger: Ledger, model: str, version: int) -> int:
    """How often a version has become champion again after another one was."""
    return max(0, sum(e.facts["champion"] == version for e in moves(ledger, model)) - 1)


def interrupted(ledger: Ledger, model: str) -> Entry | None:
    """The last move, if it was decided and is not recorded as done."""
    past = moves(ledger, model)
    if not past or past[-1].facts["verdict"] == gate.BY_HAND:
        return None
    done = {e.facts["decision"] for e in ledger.entries(DONE, model)}
    return None if past[-1].id in done else past[-1]


def withdrawn(ledger: Ledger, model: str, digest: str) -> bool:
    """Whether a package was champion until it was replaced by a rollback or by hand."""
    for row in reversed(moves(ledger, model)):
        facts = row.facts
        if facts.get("digest") == digest:
            return False
        replaced = facts["verdict"] != gate.PROMOTE and facts["champion"] is not None
        if replaced and facts.get("digest_before") == digest:
            return True
    return False


def move(ledger: Ledger, lease: Lease, facts: dict[str, Any]) -> None:
    """Record a decision, move the aliases, record that they have moved.

    Args:
        ledger, lease: the lease must be the one of :func:`lease_name`.
        facts: ``model``, ``verdict``, ``champion`` (a registered version), ``champion_before``, and whatever else the
            ledger should record.

    Raises:
        RegistryError: LEASE-LOST, STORE, LEDGER. The next command finishes a move that was begun.
    """
    lease.check()
    row = ledger.append(KIND, facts["model"], facts | {"by": who()})
    assert row is not None
    failpoints.reach("promotion: decision noted")
    _carry_out(ledger, lease, row)


def _carry_out(ledger: Ledger, lease: Lease, row: Entry) -> None:
    """Steps 2 and 3 of a move; repeating them does no harm."""
    client, model, facts = store.client(), row.subject, row.facts
    version, before = facts["champion"], facts["champion_before"]
    with store.answering():
        for key, value in _tags(row).items():
            client.set_model_version_tag(model, str(version), key, value)
        failpoints.reach("promotion: version tagged")
        if before is not None:
            lease.check()
            client.set_registered_model_alias(model, PREVIOUS, str(before))
        failpoints.reach("promotion: previous moved")
        lease.check()
        client.set_registered_model_alias(model, CHAMPION, str(version))
        failpoints.reach("promotion: champion moved")
        pages.mark_champion(model, version)
    ledger.append(DONE, model, {"decision": row.id, "by": who()}, key=f"{model}/{row.id}")
    failpoints.reach("promotion: move noted")


def _tags(row: Entry) -> dict[str, str]:
    facts = row.facts
    tags = {"gatecast.verdict": facts["verdict"], "gatecast.reason": facts["reason"]}
    # a rollback: the scores by which the version was promoted still hold
    if facts["verdict"] != gate.PROMOTE:
        return tags
    tags |= {
        f"gatecast.{facts['metric']}.{name}": f"{v:.6g}" for name, v in facts["scores"].items()
    }
    return tags | {"gatecast.promoted_at": row.at, "gatecast.checks": json.dumps(facts["checks"])}


def settle(ledger: Ledger, lease: Lease, model: str) -> Entry | None:
    """Finish a move that was interrupted; record one that was made by hand.

    Returns:
        The ledger row of the move that was finished, if any.

    Raises:
        RegistryError: LEASE-LOST, STORE, LEDGER.
    """
    past, current = moves(ledger, model), version_at(model, CHAMPION)
    now = int(current.version) if current else None
    move = interrupted(ledger, model)
    between = move is not None and now in (move.facts["champion"], move.facts["champion_before"])
    if move and between and _exists(model, move.facts["champion"]):
        print(
            f"finishing the move to version {move.facts['champion']} that was decided at {move.at}"
        )
        _carry_out(ledger, lease, move)
        return move
    expected = past[-1].facts["champion"] if past else None
    if now != expected:
        if now is not None and expected is not None and _exists(model, expected):
            lease.check()
            # so that a rollback returns to it
            with store.answering():
                store.client().set_registered_model_alias(model, PREVIOUS, str(expected))
        reason = f"the alias names {_words(now)}, the ledger {_words(expected)}"
        facts = {
            "model": model,
            "verdict": gate.BY_HAND,
            "reason": reason,
            "challenger": current.tags.get("gatecast.variant") if current else None,
            "champion": now,
            "digest": current.tags.get("gatecast.digest") if current else None,
            "champion_before": expected,
            "digest_before": past[-1].facts.get("digest") if past else None,
        }
        ledger.append(KIND, model, facts | {"by": who()})
    return None


def _exists(model: str, version: int) -> bool:
    with store.answering():
        known = store.client().search_model_versions(f"name = '{model}'")
    return any(int(v.version) == version for v in known)


def _words(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def rollback(source: str, reason: str = "", task: Task = "quantile") -> dict[str, Any]:
    """Make the previous champion the champion again, and the champion the previous one.

    If a rollback was interrupted, this finishes it and does no other.

    Args:
        source: whose model.
        reason: for the ledger.
        task: of its two models.

    Returns:
        The row of the ledger.

    Raises:
        RegistryError: NO-PREVIOUS; LEASE; whatever :func:`champion` raises of a version that cannot be trusted.
    """
    model, ledger = store.model_name(source, task), Ledger()
    with ledger.lease(lease_name(model)) as lease:
        failpoints.reach("promotion: lease taken")
        finished = settle(ledger, lease, model)
        failpoints.reach("promotion: settled")
        if finished and finished.facts["verdict"] == gate.ROLLBACK:
            # this is the one that the user asked for
            return finished.facts
        current, target = version_at(model, CHAMPION), champion(source, PREVIOUS, task)
        if current is None or target is None or int(current.version) == target.version:
            raise RegistryError(
                "NO-PREVIOUS",
                f"{model} has no champion before {_words(int(current.version) if current else None)}.",
                "Point the alias at a version in MLflow's pages, or promote another variant: dvc repro",
            )
        facts = _rollback_facts(current, target, reason)
        move(ledger, lease, facts)
    return facts


def _rollback_facts(current: Any, target: Champion, reason: str) -> dict[str, Any]:
    return {
        "model": target.model,
        "verdict": gate.ROLLBACK,
        "reason": reason or f"version {current.version} was rolled back",
        "challenger": target.variant,
        "champion": target.version,
        "digest": target.digest,
        "champion_before": int(current.version),
        "digest_before": current.tags.get("gatecast.digest"),
        **runs.lineage(),
    }
