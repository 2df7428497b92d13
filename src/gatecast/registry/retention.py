"""How many versions a registry keeps whole. Of the others the artifacts go; number, tags, card and run stay.

An archived version has the tag ``gatecast.archived`` and is never promoted again; its package, trained anew, gets a
version of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gatecast.core.ledger import Ledger, who
from gatecast.registry import aliases
from gatecast.registry.mlflow import store

ARCHIVED = "gatecast.archived"


@dataclass(frozen=True)
class Step:
    """What is to be done with a version: ``keep`` or ``archive``, and why."""

    version: int
    action: str
    why: str


def plan(name: str, keep: int, in_use: Mapping[int, str]) -> list[Step]:
    """What to do with every version that has artifacts, newest first.

    Args:
        name: of the registered model.
        keep: newest versions that stay whole.
        in_use: versions that must stay, and why. Those with an alias stay anyway.

    Raises:
        RegistryError: STORE.
    """
    client = store.client()
    found = client.search_model_versions(f"name = '{name}'")
    named = _aliases(name) if found else {}
    steps, whole = [], 0
    for each in sorted(found, key=lambda v: -int(v.version)):
        number = int(each.version)
        if ARCHIVED in each.tags:
            if _artifacts(each).list_artifacts():
                steps.append(Step(number, "archive", "its archiving was interrupted"))
            continue
        whole += 1
        if number in named:
            steps.append(Step(number, "keep", f"it is @{named[number]}"))
        elif whole <= keep:
            steps.append(Step(number, "keep", f"one of the newest {keep}"))
        elif number in in_use:
            steps.append(Step(number, "keep", in_use[number]))
        else:
            steps.append(Step(number, "archive", f"{whole - 1} newer ones are kept"))
    return steps


def archive(name: str, version: int) -> bool:
    """Archive a version: mark it, so that it is never promoted again, then delete its artifacts.

    Returns:
        False if it has an alias by now: then nothing was done.

    Raises:
        RegistryError: LEASE, STORE, LEDGER.
    """
    ledger = Ledger()
    with ledger.lease(aliases.lease_name(name)):  # no alias moves meanwhile
        if version in _aliases(name):
            return False
        digest = _archive(name, version)
        ledger.append("archive", name, {"version": version, "digest": digest, "by": who()})
    return True


def _archive(name: str, version: int) -> str:
    """Mark a version, free its run from the package, delete its artifacts; its digest."""
    client = store.client()
    found = client.get_model_version(name, str(version))
    digest = str(found.tags.get("gatecast.digest", ""))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(name, str(version), ARCHIVED, now)
    run = client.get_run(found.run_id)
    if run.data.tags.get("gatecast.digest") == digest:
        client.delete_tag(found.run_id, "gatecast.digest")  # the run no longer has the package
        client.set_tag(found.run_id, "gatecast.archived_digest", digest)
    _artifacts(found).delete_artifacts()
    return digest


def _aliases(name: str) -> dict[int, str]:
    """Version to alias."""
    found = store.client().get_registered_model(name).aliases
    return {int(version): alias for alias, version in found.items()}


def _artifacts(version: Any) -> Any:
    """The artifact repository of a version's logged model."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    model = store.client().get_logged_model(version.source.removeprefix("models:/"))
    return get_artifact_repository(model.artifact_location)
