"""A logged model where nothing is installed but what it asks for: no gatecast, no Hydra, no DVC, no Lightning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package
from gatecast.registry.mlflow import runs, store
from gatecast.training import trainer
from gatecast.training.config import Fit
from gatecast.training.trainer import Trained
from tests.recipes import model_of

FIT = Fit(accelerator="cpu", max_epochs=1, steps_per_epoch=5, batch_size=8, threads=1)
SMALL = {"hidden_size": 8, "n_steps": 3, "n_origins": 2}
RECIPES = {
    "lstm": model_of(cell="lstm", **SMALL),
    "ensemble": model_of(
        kind="ensemble",
        members=[
            {"kind": "linear", "context_length": 24},
            {"kind": "recurrent", "cell": "gru", **SMALL},
        ],
    ),
}

_CHILD = """
import importlib.util, sys
for name in ("gatecast", "hydra", "omegaconf", "dvc", "pytorch_lightning", "optuna"):
    assert importlib.util.find_spec(name) is None, f"{name} can be imported"
import mlflow
import pandas as pd
frame = pd.read_parquet("frame.parquet")
for path in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(path)
    model.predict(frame).to_parquet(f"{path}.parquet")
"""


def _trained(panel: Panel, name: str) -> Trained:
    """A fitted variant whose intervals are calibrated."""
    trained = trainer.train(name, panel, RECIPES[name], FIT, seed=1)
    assert not torch.equal(trained.net.calibration, torch.ones_like(trained.net.calibration))  # type: ignore[arg-type]
    return trained


@pytest.mark.slow
def test_a_model_forecasts_the_same_where_only_its_requirements_are_installed(
    workplace: Path, tiny: Panel, frame: pd.DataFrame, clean_python: Callable[[Path], Path]
) -> None:
    frame.to_parquet("frame.parquet")
    models = {}
    for name, recipe in RECIPES.items():
        folder = workplace / "models" / name
        package.write(folder, name, recipe, 1, tiny.meta, _trained(tiny, name))
        run = store.client().get_run(runs.ensure(folder))
        where = workplace / "mlartifacts/tiny/models" / run.outputs.model_outputs[0].model_id
        models[name] = (where / "artifacts").rename(workplace / name)
    python = clean_python(models["lstm"] / "requirements.txt")
    (workplace / "child.py").write_text(_CHILD)
    hidden = ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    subprocess.run(
        [python, "-I", "child.py", *models],
        env=environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    for name in models:
        read = panel_of(frame, tiny.meta)
        here = to_table(read, package.load(workplace / "models" / name).predict(read, latest(read)))
        there = pd.read_parquet(f"{name}.parquet")
        pd.testing.assert_frame_equal(there.iloc[:, :4], here.iloc[:, :4])
        np.testing.assert_allclose(there.iloc[:, 4:], here.iloc[:, 4:], rtol=1e-6, atol=1e-6)


@pytest.fixture
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Makes an empty environment, installs what a file of requirements names, and returns its Python."""

    def make(requirements: Path) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        return folder / "bin/python"

    return make
