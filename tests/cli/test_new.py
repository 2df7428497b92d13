"""``gatecast new``: a recipe from a file, as a user asks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gatecast.cli.commands.new import Options
from gatecast.cli.words import spelt_out

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "spelt"),
    [
        (["sales", "--from", "s.csv"], ["name=sales", "from=s.csv"]),
        (
            ["sales", "--from=s.csv", "future=[promo]"],
            ["name=sales", "from=s.csv", "future=[promo]"],
        ),
        (["name=sales", "from=s.csv"], ["name=sales", "from=s.csv"]),
        (["--cfg", "job", "name=sales"], ["--cfg", "job", "name=sales"]),
    ],
)
def test_a_name_and_a_flag_are_options_like_others(words: list[str], spelt: list[str]) -> None:
    assert spelt_out(words, Options, "name") == spelt


def test_a_new_recipe_is_accepted_by_ingest_and_never_overwritten(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data/raw").mkdir(parents=True)
    days = pd.date_range("2024-01-01", periods=90)
    table = pd.DataFrame({"date": days, "sold": days.dayofweek, "promo": days.day % 2})
    table.to_csv(tmp_path / "data/raw/sales.csv", index=False)

    def gatecast(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gatecast", *words]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False
        )

    made = gatecast("new", "sales", "--from", "sales.csv", "future=promo")
    assert made.returncode == 0, made.stderr
    assert "target: sold" in made.stdout
    assert "gatecast ingest source=sales check=true" in made.stdout
    recipe = tmp_path / "conf/source/sales.yaml"
    text = recipe.read_text(encoding="utf-8")
    assert "future: [promo]\n" in text
    checked = gatecast("ingest", "source=sales", "check=true")
    assert "this feed can be ingested and trained on" in checked.stdout, checked.stderr

    again = gatecast("new", "sales", "--from", "sales.csv", "target=promo")
    assert again.returncode == 2
    assert "ConfigError[EXISTS]" in again.stderr
    assert recipe.read_text(encoding="utf-8") == text
