"""The registered model as others load it: a fresh process that has MLflow, and no gatecast."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package

CUTOFF = "2025-01-10 07:00:00"

_CHILD = """
import importlib.util, sys
sys.path = [p for p in sys.path if not p.endswith(("main/src", "main", "main/"))]
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
assert importlib.util.find_spec("gatecast") is None, "gatecast can be imported"

import mlflow
import pandas as pd

mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/gatecast-tiny@champion")
frame = pd.read_parquet("frame.parquet")
one = frame[frame["unique_id"] == "c"]
model.predict(frame).to_parquet("all.parquet")
model.predict(one).to_parquet("one.parquet")
model.predict(frame.assign(kind="airport")).to_parquet("unknown.parquet")
model.predict(frame, params={"cutoff": "CUTOFF"}).to_parquet("cutoff.parquet")
import gatecast
print(gatecast.__file__)
""".replace("CUTOFF", CUTOFF)


@pytest.fixture(scope="module")
def served(
    shared_workplace: Path, tiny: Panel, frame: pd.DataFrame, promote: Callable[..., Any]
) -> Path:
    """The project folder in which a fresh process has answered four requests."""
    promote(shared_workplace, tiny)
    frame.to_parquet(shared_workplace / "frame.parquet")
    script = shared_workplace / "child.py"
    script.write_text(_CHILD)
    hidden = ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-I", str(script)],
        cwd=shared_workplace,
        env=environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (shared_workplace / "where").write_text(done.stdout.strip().splitlines()[-1])
    return shared_workplace


def here(
    folder: Path, frame: pd.DataFrame, panel: Panel, cutoff: str | None = None
) -> pd.DataFrame:
    """The same forecast in this process."""
    read = panel_of(frame, panel.meta, cutoff)
    return to_table(read, package.load(folder / "models/linear").predict(read, latest(read)))


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-5)


def test_the_code_came_with_the_model(served: Path) -> None:
    where = Path((served / "where").read_text())
    assert where.name == "__init__.py"
    assert not where.is_relative_to(Path(package.__file__).parents[3])


def test_a_long_table_is_forecast_as_in_this_process(
    served: Path, tiny: Panel, frame: pd.DataFrame
) -> None:
    found = pd.read_parquet(served / "all.parquet")
    assert found["unique_id"].tolist() == [s for s in "abcd" for _ in range(tiny.meta.horizon)]
    same(found, here(served, frame, tiny))
    whole = package.load(served / "models/linear").predict(tiny, latest(tiny))
    same(found, to_table(tiny, whole))


def test_one_series_is_forecast_as_it_is_among_all(served: Path) -> None:
    whole = pd.read_parquet(served / "all.parquet")
    expected = whole[whole["unique_id"] == "c"].reset_index(drop=True)
    same(pd.read_parquet(served / "one.parquet"), expected)


def test_a_category_nobody_has_seen_is_forecast(
    served: Path, tiny: Panel, frame: pd.DataFrame
) -> None:
    found = pd.read_parquet(served / "unknown.parquet")
    assert found.notna().all().all()
    same(found, here(served, frame.assign(kind="airport"), tiny))


def test_a_cutoff_forecasts_from_an_earlier_day(
    served: Path, tiny: Panel, frame: pd.DataFrame
) -> None:
    found = pd.read_parquet(served / "cutoff.parquet")
    assert set(found["cutoff"]) == {pd.Timestamp(CUTOFF)}
    same(found, here(served, frame, tiny, CUTOFF))


def test_a_model_whose_target_has_its_own_name_is_served(
    served: Path, tiny: Panel, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """A source with ``target: load``: the user's table has ``y``, as the signature says."""
    import json

    folder = tmp_path / "linear"
    folder.mkdir()
    for file in (served / "models/linear").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = json.loads((folder / "package.json").read_text())
    content["panel"]["channels"][0]["name"] = "load"
    (folder / "package.json").write_text(json.dumps(content))
    model = package.load(folder)
    read = panel_of(frame, model.meta)
    same(to_table(read, model.predict(read, latest(read))), here(served, frame, tiny))
