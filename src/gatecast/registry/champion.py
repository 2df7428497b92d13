"""The champion: the version behind an alias of the registered model, resolved to its number and then read by it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatecast.core import atomic
from gatecast.core.errors import RegistryError
from gatecast.core.forecast import Task
from gatecast.registry import package
from gatecast.registry.mlflow import store
from gatecast.registry.package import MODELS, Package

CHAMPION, PREVIOUS = "champion", "previous"
# packages that scoring runs keep for their processes
KEPT = Path("data/scoring/packages")


@dataclass(frozen=True)
class Champion:
    """A registered version that an alias named: from here on its number and digest count, not the alias.

    ``package`` has been read and its digest checked; ``package.predictor`` builds its net.
    """

    model: str
    version: int
    digest: str
    run_id: str
    variant: str
    package: Package


def version_at(model: str, alias: str) -> Any | None:
    """The model version behind an alias; None if there is no such model or alias.

    Raises:
        RegistryError: STORE.
    """
    from mlflow.exceptions import MlflowException

    with store.answering():
        try:
            return store.client().get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def champion(source: str, alias: str = CHAMPION, task: Task = "quantile") -> Champion | None:
    """Resolve and load the version behind an alias; None if nothing of the task was promoted yet.

    Raises:
        RegistryError: STORE, FOREIGN, ARTIFACT, DIGEST, PACKAGE-…
    """
    version = version_at(store.model_name(source, task), alias)
    return None if version is None else _load(version)


def numbered(source: str, number: int, task: Task = "quantile") -> Champion:
    """Load a registered version by its number.

    Raises:
        RegistryError: NO-VERSION, STORE, FOREIGN, ARTIFACT, DIGEST, PACKAGE-…
    """
    from mlflow.exceptions import MlflowException

    name = store.model_name(source, task)
    with store.answering():
        try:
            return _load(store.client().get_model_version(name, str(number)))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
    raise RegistryError(
        "NO-VERSION",
        f"{name} has no version {number}; it was deleted.",
        "Restore the registry, or score with today's champion: hindcast=true.",
    )


def _load(version: Any) -> Champion:
    """Load a registered version; its digest is checked."""
    name = version.name
    digest = version.tags.get("gatecast.digest")
    if not digest:
        raise RegistryError(
            "FOREIGN",
            f"{name} version {version.version} was not registered by gatecast.",
            "Point the alias at a version that was.",
        )
    with _fetched(name, int(version.version), digest) as folder:
        whole = package.read(folder)
    return Champion(
        name,
        int(version.version),
        digest,
        str(version.run_id),
        str(version.tags.get("gatecast.variant")),
        whole,
    )


@contextmanager
def _fetched(model: str, version: int, digest: str) -> Iterator[Path]:
    """The package of a registered version, in a folder that may be gone when the block ends.

    The registry knows where it was stored, not where that is now: a project may have been moved or copied. What counts
    is the digest, and a package of this digest in the project folder is the one that was registered.

    Raises:
        RegistryError: ARTIFACT if it can neither be fetched nor is in the project; DIGEST if it is another one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = _downloaded(model, version, temporary)
        except RegistryError:
            if (copy := _in_project(digest)) is None:
                raise
            folder = copy
            text = f"{model} version {version} is not at its address in MLflow; its package in {folder} is used"
            print(text, file=sys.stderr)
        if package.digest(folder) != digest:
            raise package.tampered(folder)
        yield folder


def _downloaded(model: str, version: int, folder: str) -> Path:
    """Fetch the package of a registered version from the address that the registry knows."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        local = mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{model}/{version}/artifacts", dst_path=folder
        )
    except (MlflowException, OSError) as error:
        cause = " ".join(str(error).split())
    else:
        if inside := sorted(Path(local).rglob("package.json")):
            return inside[0].parent
        cause = "there is no package at its address"
    raise RegistryError(
        "ARTIFACT",
        f"{model} version {version} cannot be fetched: {cause}",
        f"Restore its artifacts, put its package into {MODELS}/, or promote another version.",
    )


def _in_project(digest: str) -> Path | None:
    """A package of this digest in the project folder: kept by a scoring run, trained here, or in a store that moved."""
    for pattern in (f"{KEPT}/{digest[:16]}", f"{MODELS}/*", f"{store.ARTIFACTS}/**/package.json"):
        for path in sorted(Path().glob(pattern)):
            folder = path.parent if path.name == "package.json" else path
            # an error: it is not whole
            with suppress(RegistryError):
                if package.digest(folder) == digest:
                    return folder
    return None


def keep(best: Champion, folder: Path) -> None:
    """Copy the package of a version into a folder, unless it is there, for other processes to load.

    Anything else in the folder is replaced; a package that another process has copied meanwhile stays.

    Raises:
        RegistryError: ARTIFACT; DIGEST if it is not the one that was registered.
    """
    if _kept(best, folder):
        return
    with _fetched(best.model, best.version, best.digest) as fetched:
        broken = folder.exists() and not _kept(best, folder)
        with atomic.folder(folder, replace=broken) as out:
            for name in package.FILES:
                shutil.copyfile(fetched / name, out / name)


def _kept(best: Champion, folder: Path) -> bool:
    # an error: a file is missing, or another one lies beside them
    with suppress(RegistryError):
        return package.digest(folder) == best.digest
    return False
