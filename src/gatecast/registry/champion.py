"""The champion: the version behind an alias of the registered model, resolved once and loaded by its number."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatecast.errors import RegistryError
from gatecast.evaluation.predictor import NetPredictor
from gatecast.forecast import Kind
from gatecast.registry import package, tracking

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


@contextmanager
def answering() -> Iterator[None]:
    """Turn errors of the registry into one of ours.

    Raises:
        RegistryError: STORE.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise RegistryError(
            "STORE", f"the registry does not answer: {error}", "Look at the MLflow store."
        ) from None


def version_at(model: str, alias: str) -> Any | None:
    """The model version behind an alias; None if there is no such model or alias.

    Raises:
        RegistryError: STORE.
    """
    from mlflow.exceptions import MlflowException

    with answering():
        try:
            return tracking.client().get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None  # no such model, no such alias
            raise


def champion(source: str, alias: str = CHAMPION, kind: Kind = "quantile") -> Champion | None:
    """Resolve and load the version behind an alias; None if nothing of the kind was promoted yet.

    Raises:
        RegistryError: STORE, FOREIGN, ARTIFACT, DIGEST, PACKAGE-…
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    name = tracking.model_name(source, kind)
    found = version_at(name, alias)
    if found is None:
        return None
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
