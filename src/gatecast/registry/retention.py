"""How many versions a registry keeps whole. The others are archived: number, tags, card and run stay, artifacts go.

An archived version has the tag ``gatecast.archived`` and is never promoted again. If its package is trained again, that
is a new version.
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
    """What to do with a version (``keep`` or ``archive``), and why."""

    version: int
    action: str
    why: str


def plan(name: str, keep: int, in_use: Mapping[int, str]) -> list[Step]:
    """What to do with every version that has artifacts, newest first.

    Args:
        name: of the registered model.
        keep: how many of the newest versions stay whole.
        in_use: versions that must stay whole, and why. Those with an alias do anyway.

    Raises:
        RegistryError: STORE.
    """
    client = store.client()
    versions = client.search_model_versions(f"name = '{name}'")
    named = _aliases(name) if versions else {}
    steps, whole = [], 0
    for version in sorted(versions, key=lambda v: -int(v.version)):
        number = int(version.version)
        if ARCHIVED in version.tags:
            if _artifacts(version).list_artifacts():
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
    """Archive a version: tag it, so that it is never promoted again, then delete its artifacts.

    Returns:
        False if it has an alias by now, and so was left alone.

    Raises:
        RegistryError: LEASE, STORE, LEDGER.
    """
    ledger = Ledger()
    # no alias moves meanwhile
    with ledger.lease(aliases.lease_name(name)):
        if version in _aliases(name):
            return False
        digest = _archive(name, version)
        ledger.append("archive", name, {"version": version, "digest": digest, "by": who()})
    return True


def _archive(name: str, version: int) -> str:
    """Tag a version, take the digest from its run, delete its artifacts.

    Returns:
        The digest of its package.
    """
    client = store.client()
    archived = client.get_model_version(name, str(version))
    digest = str(archived.tags.get("gatecast.digest", ""))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(name, str(version), ARCHIVED, now)
    run = client.get_run(archived.run_id)
    # the run no longer has the package
    if run.data.tags.get("gatecast.digest") == digest:
        client.delete_tag(archived.run_id, "gatecast.digest")
        client.set_tag(archived.run_id, "gatecast.archived_digest", digest)
    _artifacts(archived).delete_artifacts()
    return digest


def _aliases(name: str) -> dict[int, str]:
    """The alias of each version that has one."""
    versions = store.client().get_registered_model(name).aliases
    return {int(version): alias for alias, version in versions.items()}


def _artifacts(version: Any) -> Any:
    """The artifact repository of a version's logged model."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    model = store.client().get_logged_model(version.source.removeprefix("models:/"))
    return get_artifact_repository(model.artifact_location)
