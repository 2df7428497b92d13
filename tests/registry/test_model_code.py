"""The code that a logged model brings: beside the installed gatecast, and beside that of other models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import gatecast
from gatecast.data.panel import Panel
from gatecast.registry.mlflow import code, runs

_CHILD = """
import sys
import mlflow
assert "gatecast" not in sys.modules
model = mlflow.pyfunc.load_model(sys.argv[1])
from gatecast.scoring import read_forecasts
import gatecast
print(gatecast.__file__)
"""


@pytest.fixture
def log(workplace: Path, tiny: Panel, write_package: Callable[..., str]) -> Callable[..., str]:
    """Logs a package of some quality; returns where its model is."""

    def logged(quality: float = 1.0) -> str:
        before = {*workplace.rglob("MLmodel")}
        write_package(workplace / "models/linear", tiny, quality)
        runs.ensure(workplace / "models/linear")
        (new,) = {*workplace.rglob("MLmodel")} - before
        return str(new.parent)

    return logged


def test_loading_a_model_leaves_the_installed_gatecast_whole(log: Callable[..., str]) -> None:
    source = str(Path(gatecast.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, log()],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == gatecast.__file__


def test_two_models_in_one_process_run_each_its_own_code(
    log: Callable[..., str], frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "gatecast"
    shutil.copytree(Path(gatecast.__file__).parent, other)
    table = other / "evaluation/table.py"
    text = table.read_text(encoding="utf-8")
    changed = text.replace("return plain(to_arrow(source, forecast)).to_pandas()", "return 'other'")
    assert changed != text
    table.write_text(changed, encoding="utf-8")
    ours = mlflow.pyfunc.load_model(log())
    monkeypatch.setattr(code, "_ROOT", other)
    theirs = mlflow.pyfunc.load_model(log(0.9))
    assert theirs.predict(frame) == "other"
    assert len(ours.predict(frame)) > 0
