"""The MLflow model beside a run: signature, example, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gatecast.data.panel import Panel
from gatecast.registry import package
from gatecast.registry.mlflow import runs, store
from gatecast.registry.mlflow.model import signature

Write = Callable[..., str]


def test_the_logged_model_takes_a_long_table(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    import mlflow

    write_package(workplace / "models/linear", tiny)
    run_id = runs.ensure(workplace / "models/linear")
    model_id = store.client().get_run(run_id).outputs.model_outputs[0].model_id
    signature = mlflow.models.get_model_info(f"models:/{model_id}").signature
    assert signature.inputs.input_names() == ["unique_id", "ds", "y", "kind", "price"]
    assert signature.outputs.input_names()[:5] == ["unique_id", "cutoff", "ds", "step", "gatecast"]
    assert [p.name for p in signature.params.params] == ["cutoff"]


def test_the_example_beside_a_model_is_one_that_it_can_forecast(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    """Logging does not try it: that would cost more than all the rest."""
    import mlflow

    write_package(workplace / "models/linear", tiny)
    run_id = runs.ensure(workplace / "models/linear")
    model_id = store.client().get_run(run_id).outputs.model_outputs[0].model_id
    model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    example = model.input_example
    assert example is not None
    table = model.predict(example)
    assert table["unique_id"].tolist() == [s for s in "ab" for _ in range(tiny.meta.horizon)]
    assert table["gatecast"].notna().all()


def test_nothing_in_a_logged_model_is_pickled(
    workplace: Path, tiny: Panel, write_package: Write
) -> None:
    write_package(workplace / "models/linear", tiny)
    runs.ensure(workplace / "models/linear")
    names = [p.name for p in (workplace / "mlartifacts").rglob("*") if p.is_file()]
    assert "weights.safetensors" in names
    assert [n for n in names if n.endswith((".pkl", ".pickle", ".joblib", ".pt", ".bin"))] == []


@pytest.mark.parametrize(("zone", "dtype"), [(None, "datetime"), ("Europe/Berlin", "string")])
def test_a_cutoff_keeps_its_offset_where_the_source_has_a_zone(
    zone: str | None, dtype: str, tiny: Panel, workplace: Path, write_package: Write
) -> None:
    """MLflow's ``datetime`` drops it."""
    write_package(workplace / "models/linear", tiny)
    content = package.describe(workplace / "models/linear")
    content["panel"]["timezone"] = zone
    (cutoff,) = signature(content).params.params
    assert cutoff.dtype.name == dtype
