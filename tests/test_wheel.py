"""What a user installs: a light core that loads a package and predicts, and a wheel that holds everything it needs."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT, Clone

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Predicts where nothing that an extra brings can be imported.
PREDICT = """
import importlib.abc, sys

EXTRA = {extra!r}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())

import pandas as pd
import gatecast

frame = pd.read_parquet({frame!r})
gatecast.load({package!r}).predict(frame).to_parquet({out!r})
"""

# Module of each distribution whose name is another.
MODULES = {
    "pytorch-lightning": "pytorch_lightning",
    "scikit-learn": "sklearn",
    "hydra-core": "hydra",
}


def name(requirement: str) -> str:
    """``mlflow>=3.17.2,<3.18`` -> ``mlflow``"""
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower()


def only_in_extras() -> list[str]:
    """Importable names of the distributions that an extra brings and the core does not; the tests' own apart."""
    core = {name(x) for x in PROJECT["dependencies"]}
    groups = [group for extra, group in EXTRAS.items() if extra != "dev"]
    extra = {name(x) for group in groups for x in group} - core - {"gatecast"}
    return sorted(MODULES.get(x, x) for x in extra)


def test_mlflow_dvc_optuna_lightning_and_hydra_are_extras() -> None:
    heavy = {"mlflow", "dvc", "optuna", "pytorch_lightning", "hydra", "sqlalchemy", "matplotlib"}
    assert heavy <= set(only_in_extras())


def test_the_extra_all_brings_what_every_command_imports() -> None:
    (everything,) = EXTRAS["all"]
    named = set(re.findall(r"\w+", everything.partition("[")[2]))
    assert named == set(EXTRAS) - {"all", "dev"}


def test_the_lock_pins_every_dependency_of_the_core() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower()
    pinned = set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))
    assert {name(x) for x in PROJECT["dependencies"]} - pinned == set()


@pytest.mark.slow
def test_the_core_alone_loads_a_package_and_predicts(belt: Clone, tmp_path: Path) -> None:
    frame = pd.read_parquet(belt.path / "data/observations/observations.parquet")
    static = pd.read_parquet(belt.path / "data/observations/static.parquet")
    frame.merge(static, on="unique_id").to_parquet(tmp_path / "frame.parquet")
    script = PREDICT.format(
        extra=only_in_extras(),
        frame=str(tmp_path / "frame.parquet"),
        package=str(belt.path / "models/lstm"),
        out=str(tmp_path / "forecasts.parquet"),
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    forecasts = pd.read_parquet(tmp_path / "forecasts.parquet")
    assert set(forecasts["unique_id"]) == set(frame["unique_id"])
    assert forecasts["gatecast"].notna().all()


@pytest.mark.slow
def test_the_wheel_holds_types_templates_and_the_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "src", "pyproject.toml", "*.md"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for file in [*listed.stdout.decode().split("\0"), "LICENSE"]:
        if file and (ROOT / file).is_file():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_bytes((ROOT / file).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("gatecast-*.whl")
    with zipfile.ZipFile(wheel) as content:
        files = set(content.namelist())
        (entries,) = [x for x in files if x.endswith("entry_points.txt")]
        scripts = configparser.ConfigParser()
        scripts.read_string(content.read(entries).decode())
    assert {"gatecast/py.typed", "gatecast/reports/page.html"} <= files
    modules = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src").rglob("*.py")}
    assert modules - files == set()
    assert dict(scripts["console_scripts"]) == {"gatecast": "gatecast.cli:main"}
