"""The MLflow model of a package: the package, the code that loads it, its requirements, signature and example."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core.forecast import FORECASTS, KEYS, Task
from gatecast.data.panel import FUTURE, PAST, Channel, PanelMeta
from gatecast.registry import package
from gatecast.registry.mlflow import code, store

_PACKAGES = ("mlflow", "torch", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "holidays")


def log_package(run_id: str, folder: Path) -> None:
    """Log a package as an MLflow model (models-from-code) of a run, and tag the run with its digest.

    The model takes a long table and returns a forecast table; see :mod:`gatecast.registry.mlflow.pyfunc`.
    """
    from mlflow.models import Model

    client, digest = store.client(), package.digest(folder)
    variant, run = package.describe(folder)["variant"], client.get_run(run_id)
    logged = client.create_logged_model(
        run.info.experiment_id, variant, run_id, {"gatecast.digest": digest}, run.data.params
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
        with code.copied() as gatecast:
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


def _covariates(meta: PanelMeta) -> list[Channel]:
    return [*meta.static, *(c for c in meta.channels if c.role in (PAST, FUTURE))]


def signature(content: dict[str, Any]) -> Any:
    """An MLflow ``ModelSignature``: the long table in, the forecast table out, ``cutoff`` beside it.

    Inputs have names and no types: MLflow would refuse whole numbers in ``y``, booleans, categories, and stamps that
    are text or have a zone. The model reads them as ``ingest`` does, and its errors say what is wrong.

    Args:
        content: of ``package.json``.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    meta = PanelMeta.from_json(content["panel"])
    inputs: list[Any] = [ColSpec(AnyType(), name) for name in ("unique_id", "ds", "y")]
    inputs += [ColSpec(AnyType(), c.name, required=False) for c in _covariates(meta)]
    types = dict(zip(KEYS, ("string", "datetime", "datetime", "integer"), strict=True))
    task: Task = "event" if content["spec"].get("event") else "quantile"
    outputs: list[Any] = [ColSpec(dtype, name) for name, dtype in types.items()] + [
        ColSpec("float", name) for name in FORECASTS[task].columns
    ]
    # MLflow's `datetime` takes text and stamps, but drops an offset, which a source with a zone needs
    default = ("string", "") if meta.timezone else ("datetime", "9999-12-31")
    cutoff = ParamSpec("cutoff", *default)
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema([cutoff]))


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
