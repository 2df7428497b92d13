"""The registered model as others load it: a fresh process that has MLflow, and no gatecast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

from gatecast.core.errors import IngestError
from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package
from gatecast.registry.mlflow import runs

CUTOFF = "2025-01-10 07:00:00"

_CHILD = """
import importlib.util, os, sys
sys.path = [p for p in sys.path if not os.path.isdir(os.path.join(p, "gatecast"))]  # wherever it is installed
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
assert importlib.util.find_spec("gatecast") is None, "gatecast can be imported"

import mlflow
import pandas as pd

mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/gatecast-tiny@champion")
frame = pd.read_parquet("frame.parquet")
one = frame[frame["unique_id"] == "c"]
refused = {}
for name, asked in {"empty": frame[:0], "column": frame.rename(columns={"price": "prize"})}.items():
    try:
        model.predict(asked)
    except Exception as error:
        refused[name] = f"{type(error).__name__}: {error}"
pd.Series(refused).to_json("refused.json")
model.predict(frame).to_parquet("all.parquet")
model.predict(one).to_parquet("one.parquet")
model.predict(one[:3]).to_parquet("short.parquet")
many = [frame.assign(unique_id=frame["unique_id"] + str(k)) for k in range(9)]
model.predict(pd.concat(many)).to_parquet("many.parquet")
model.predict(frame.assign(kind="airport")).to_parquet("unknown.parquet")
model.predict(frame, params={"cutoff": "CUTOFF"}).to_parquet("cutoff.parquet")
model.predict(frame, params={"cutoff": pd.Timestamp("CUTOFF")}).to_parquet("stamp.parquet")
model.predict(frame[["unique_id", "ds", "y"]]).to_parquet("bare.parquet")
whole = frame.assign(y=frame["y"].round())
model.predict(whole).to_parquet("whole.parquet")
model.predict(whole.assign(y=whole["y"].astype("Int64"))).to_parquet("integers.parquet")
priced = frame.assign(price=frame["price"] > 0)
model.predict(priced.astype({"price": float})).to_parquet("priced.parquet")
model.predict(priced).to_parquet("booleans.parquet")
odd = {
    "text": frame.assign(ds=frame["ds"].astype(str)),
    "zone": frame.assign(ds=frame["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")),
    "categories": frame.astype({"unique_id": "category", "kind": "category"}),
    "arrow": frame.convert_dtypes(dtype_backend="pyarrow"),
}
for name, asked in odd.items():
    model.predict(asked).to_parquet(f"{name}.parquet")
heavy = {"hydra", "omegaconf", "dvc", "pytorch_lightning", "lightning_fabric", "optuna", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert importlib.util.find_spec("gatecast") is None, "the model brought a package named gatecast"
print(*{m.__file__ for name, m in sys.modules.items() if name.endswith("registry.frame_predictor")})
""".replace("CUTOFF", CUTOFF)


@pytest.fixture(scope="module")
def served(
    shared_workplace: Path, tiny: Panel, frame: pd.DataFrame, promote: Callable[..., Any]
) -> Path:
    """The project folder in which a fresh process has answered requests."""
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
    assert where.name == "frame_predictor.py"
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


def test_many_series_are_forecast_as_few_are(served: Path) -> None:
    whole, many = (pd.read_parquet(served / f"{name}.parquet") for name in ("all", "many"))
    assert len(many) == 9 * len(whole)
    last = many[many["unique_id"].str.endswith("8")]
    same(last.drop(columns="unique_id").reset_index(drop=True), whole.drop(columns="unique_id"))


def test_a_series_shorter_than_the_input_size_is_forecast(served: Path, tiny: Panel) -> None:
    found = pd.read_parquet(served / "short.parquet")
    assert len(found) == tiny.meta.horizon
    assert found.notna().all().all()


def test_an_empty_frame_is_told_what_it_lacks(served: Path) -> None:
    refused = json.loads((served / "refused.json").read_text())
    assert "IngestError[EMPTY]" in refused["empty"]


@pytest.mark.parametrize("sent", ["text", "zone", "categories", "arrow"])
def test_a_frame_is_taken_as_pandas_users_have_it(sent: str, served: Path) -> None:
    """Stamps with a zone are read as in a feed: the model knows no zone, so they count as UTC."""
    same(pd.read_parquet(served / f"{sent}.parquet"), pd.read_parquet(served / "all.parquet"))


def test_whole_numbers_and_booleans_are_numbers(served: Path) -> None:
    for sent, expected in {"integers": "whole", "booleans": "priced"}.items():
        same(*(pd.read_parquet(served / f"{name}.parquet") for name in (sent, expected)))


def test_a_cutoff_may_be_a_stamp(served: Path) -> None:
    same(*(pd.read_parquet(served / f"{name}.parquet") for name in ("stamp", "cutoff")))


def test_columns_that_the_signature_calls_optional_may_be_left_out(
    served: Path, tiny: Panel, frame: pd.DataFrame
) -> None:
    unknown = frame.assign(kind=None, price=float("nan"))
    same(pd.read_parquet(served / "bare.parquet"), here(served, unknown, tiny))


@pytest.mark.parametrize("rows", ["none", "without a value"])
def test_a_frame_without_any_value_is_told_what_it_lacks(
    rows: str, tiny: Panel, frame: pd.DataFrame
) -> None:
    asked = frame[:0] if rows == "none" else frame.assign(y=float("nan"))
    with pytest.raises(IngestError, match="EMPTY"):
        panel_of(asked, tiny.meta)


@pytest.fixture
def logged(workplace: Path, tiny: Panel, write_package: Callable[..., str]) -> Path:
    """The folder of a model that was logged, as MLflow keeps it."""
    write_package(workplace / "models/linear", tiny)
    runs.ensure(workplace / "models/linear")
    (found,) = (workplace / "mlartifacts").rglob("MLmodel")
    return found.parent


def test_a_logged_model_brings_little_code_and_nothing_that_trains(logged: Path) -> None:
    code = [p for p in (logged / "code").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in code) < 1 << 20
    assert code
    rooms = {p.relative_to(logged / "code").parts[1] for p in code}
    assert not {"tuning", "scoring", "training", "cli"} & rooms


def test_a_logged_model_whose_weights_were_changed_is_refused(logged: Path) -> None:
    (weights,) = logged.rglob("weights.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(Exception, match=r"RegistryError\[DIGEST\]"):
        mlflow.pyfunc.load_model(str(logged))


def test_a_pickle_beside_the_weights_is_refused_without_being_run(logged: Path) -> None:
    (weights,) = logged.rglob("weights.safetensors")
    (weights.parent / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(Exception, match=r"RegistryError\[PACKAGE-FOREIGN\].*model\.pkl"):
        mlflow.pyfunc.load_model(str(logged))
    assert not Path("ran").exists()


def test_a_logged_package_from_a_newer_schema_is_refused(
    workplace: Path, tiny: Panel, write_package: Callable[..., str]
) -> None:
    """It was whole when it was logged: the digest is right, the content is of another time."""
    folder = workplace / "models/linear"
    write_package(folder, tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "SCHEMA", package.SCHEMA + 1)
        content = json.loads((folder / "package.json").read_text())
        (folder / "package.json").write_text(json.dumps(content | {"schema": package.SCHEMA}))
        runs.ensure(folder)
    (found,) = (workplace / "mlartifacts").rglob("MLmodel")
    with pytest.raises(Exception, match=r"RegistryError\[PACKAGE-SCHEMA\]"):
        mlflow.pyfunc.load_model(str(found.parent))


def test_a_model_that_does_not_know_its_digest_is_refused(logged: Path) -> None:
    config = yaml.safe_load((logged / "MLmodel").read_text())
    del config["flavors"]["python_function"]["config"]
    (logged / "MLmodel").write_text(yaml.safe_dump(config))
    with pytest.raises(Exception, match=r"RegistryError\[DIGEST\]"):
        mlflow.pyfunc.load_model(str(logged))


def test_a_model_whose_target_has_its_own_name_is_served(
    served: Path, tiny: Panel, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """A source with ``target: load``: the user's table has ``y``, as the signature says."""
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
