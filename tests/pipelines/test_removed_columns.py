"""What a user does: covariates are removed from the recipe of a source in production."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clone

ALL = "  future: [temperature, promotion, holiday]"


@pytest.mark.slow
def test_the_champion_is_scored_and_compared_with_columns_that_the_recipe_names_no_more(
    belt: Any, tmp_path: Path
) -> None:
    shutil.copytree(belt.path, tmp_path / "copy", symlinks=True)
    clone = Clone(tmp_path / "copy")
    clone.edit("conf/source/demo.yaml", ALL, "  future: [holiday]")
    params = clone.path / "params.yaml"
    params.write_text(
        re.sub(r"(?<=^variants: ).*\n(  - .*\n)+", "[linear]\n", params.read_text(), flags=re.M)
    )
    published = len(list((clone.path / "forecasts/demo").iterdir()))
    clone.run("python", "pipelines/score.py")
    assert len(list((clone.path / "forecasts/demo").iterdir())) == published
    clone.run("dvc", "repro", "promote")
    content = (clone.path / "reports/promotion.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(content)
    assert facts["scores"].keys() == {"challenger", "seasonal_naive", "champion"}
    assert facts["verdict"] in ("promoted", "not_better")
