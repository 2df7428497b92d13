"""The MLflow model of a package: the package, the code that loads it, its requirements, signature and example."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core.forecast import FORECASTS, KEYS, Task
from gatecast.data.panel import FUTURE, PAST, Channel, PanelMeta
from gatecast.registry import package
from gatecast.registry.mlflow import store

_PACKAGES = ("mlflow", "torch", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "holidays")
# The code that forecasts, without what trains, tunes, scores and registers.
_CODE = (
    *("__init__.py", "core", "data", "models", "feed"),
    *("evaluation/__init__.py", "evaluation/predictor.py", "evaluation/table.py"),
    *("registry/__init__.py", "registry/package.py", "registry/frame_predictor.py"),
    *("registry/mlflow/__init__.py", "registry/mlflow/pyfunc.py"),
)


def log_package(run_id: str, folder: Path) -> None:
    """Log a package as an MLflow model (models-from-code) of a run, and tag the run with its digest.

    The model takes a long table and returns a forecast table; see :mod:`gatecast.registry.mlflow.pyfunc`.
    """
    from mlflow.models import Model

    client, digest = store.client(), package.digest(folder)
    run = client.get_run(run_id)
    logged = client.create_logged_model(
        run.info.experiment_id, "model", run_id, {"gatecast.digest": digest}, run.data.params
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Model.log(
            # deprecated, and still without a default
            artifact_path=None,
            flavor=_Flavor(folder),
            run_id=run_id,
            model_id=logged.model_id,
            # it would predict the example
            validate_serving_input=False,
        )
    client.set_tag(run_id, "gatecast.digest", digest)


@dataclass(frozen=True)
class _Flavor:
    """MLflow's pyfunc flavor for a package, as :meth:`mlflow.models.Model.log` calls it.

    ``mlflow.pyfunc.log_model`` would log the digest as a parameter of the run, and load the model to predict its own
    example.
    """

    folder: Path

    def save_model(self, path: str, mlflow_model: Any, **_: Any) -> None:
        import mlflow

        content = package.describe(self.folder)
        with code() as gatecast:
            mlflow.pyfunc.save_model(
                path,
                mlflow_model=mlflow_model,
                python_model=str(gatecast / "registry" / "mlflow" / "pyfunc.py"),
                artifacts={"package": str(self.folder)},
                code_paths=[str(gatecast)],
                model_config={"digest": package.digest(self.folder)},
                pip_requirements=requirements(),
                signature=signature(content),
                input_example=example(content),
            )


def requirements() -> list[str]:
    """Lines of a ``requirements.txt`` with the versions that this process runs with."""
    return [f"{name}=={version(name).split('+')[0]}" for name in _PACKAGES]


@contextmanager
def code() -> Iterator[Path]:
    """A copy of those modules of gatecast that a model needs; deleted when the block ends."""
    package_folder = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "gatecast"
        for name in _CODE:
            source, target = package_folder / name, copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
        yield copy


def _covariates(meta: PanelMeta) -> list[Channel]:
    return [*meta.static, *(c for c in meta.channels if c.role in (PAST, FUTURE))]


def signature(content: dict[str, Any]) -> Any:
    """An MLflow ``ModelSignature``: the long table in, the forecast table out, ``cutoff`` beside it.

    Args:
        content: of ``package.json``.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    inputs: list[Any] = [
        ColSpec("string", "unique_id"),
        ColSpec("datetime", "ds"),
        ColSpec("double", "y", required=False),
    ]
    inputs += [
        ColSpec("double" if c.categories is None else "string", c.name, required=False)
        for c in _covariates(PanelMeta.from_json(content["panel"]))
    ]
    kinds = dict(zip(KEYS, ("string", "datetime", "datetime", "integer"), strict=True))
    task: Task = "event" if content["spec"].get("event") else "quantile"
    outputs: list[Any] = [ColSpec(kind, name) for name, kind in kinds.items()] + [
        ColSpec("float", name) for name in FORECASTS[task].columns
    ]
    params = ParamSchema([ParamSpec("cutoff", "string", "")])
    return ModelSignature(Schema(inputs), Schema(outputs), params)


def example(content: dict[str, Any]) -> pd.DataFrame:
    """Two rows of two series.

    Args:
        content: of ``package.json``.
    """
    meta = PanelMeta.from_json(content["panel"])
    table = pd.DataFrame(
        {
            "unique_id": ["a", "a", "b", "b"],
            "ds": list(pd.date_range(meta.first, periods=2, freq=meta.frequency)) * 2,
            "y": [1.0, 2.0, 3.0, 4.0],
        }
    )
    for c in _covariates(meta):
        table[c.name] = 0.0 if c.categories is None else c.categories[0] if c.categories else ""
    return table
