"""The MLflow store: its address, a client on it, and the names under which a source is found in it.

The store is SQLite in the project folder (``mlflow.db``, artifacts in ``mlartifacts/``) unless
``MLFLOW_TRACKING_URI`` names a server; experiments of DVC log there, too, wherever they run.
Each source has one experiment and one registered model, and a registered model of its own for events.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatecast.core.errors import RegistryError
from gatecast.core.forecast import Task
from gatecast.core.home import home
from gatecast.core.ledger import display

DATABASE = Path("mlflow.db")
ARTIFACTS = Path("mlartifacts")


def uri() -> str:
    """Address of the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / DATABASE}"


def model_name(source: str, task: Task = "quantile") -> str:
    """Registered model of a source, events apart; the one of quantiles is also the name of its experiment."""
    return f"gatecast-{source}" + ("-event" if task == "event" else "")


def client() -> Any:
    """An ``MlflowClient`` on a store whose tables exist.

    Raises:
        RegistryError: STORE if it cannot be reached.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # seconds, not minutes of silence
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    mlflow.set_tracking_uri(uri())
    mlflow.set_registry_uri(uri())
    try:
        # the first process makes the tables, the others wait for it
        with open(home() / ".mlflow.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = mlflow.MlflowClient()
            made.search_experiments(max_results=1)
        return made
    except Exception as error:
        raise RegistryError(
            "STORE",
            f"the MLflow store {display(uri())} cannot be reached: {error}",
            "Start it, or correct MLFLOW_TRACKING_URI.",
        ) from None


@contextmanager
def answering() -> Iterator[None]:
    """Turn MLflow's errors into one of ours.

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


def experiment(source: str) -> str:
    """Id of the source's experiment, created if there is none (artifacts in ``mlartifacts/``).

    Raises:
        RegistryError: EXPERIMENT if it was deleted; STORE.
    """
    from mlflow.exceptions import MlflowException

    mlflow, name = client(), model_name(source)
    known = mlflow.get_experiment_by_name(name)
    if known is None:
        local = (home() / ARTIFACTS / source).as_uri() if uri().startswith("sqlite") else None
        try:
            return str(mlflow.create_experiment(name, artifact_location=local))
        except MlflowException:  # another process was faster
            known = mlflow.get_experiment_by_name(name)
    if known is None or known.lifecycle_stage != "active":
        raise RegistryError(
            "EXPERIMENT",
            f"the experiment {name} is deleted.",
            f"Restore it: mlflow experiments restore -x {known.experiment_id if known else '?'}",
        )
    return str(known.experiment_id)
