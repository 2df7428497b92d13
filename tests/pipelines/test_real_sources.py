"""The belt on the real files, where they are at hand (a short training: the scores are in benchmarks, not here)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

DATA = os.environ.get("GATECAST_DATA_DIR")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA, reason="GATECAST_DATA_DIR names no folder with the public data sets"
    ),
]


@pytest.mark.parametrize(
    ("source", "series", "horizon", "missing"),
    [
        ("m4_hourly", 414, 48, {"missing_rows": 0, "missing_values": 0}),
        ("etth1", 7, 96, {"missing_rows": 0, "missing_values": 0}),
        ("bike_sharing", 1, 24, {"missing_rows": 165, "missing_values": 0}),
        ("beijing_pm25", 1, 24, {"missing_rows": 0, "missing_values": 2067}),
    ],
)
def test_the_belt_ends_with_published_forecasts(
    fresh_clone: Any, source: str, series: int, horizon: int, missing: dict[str, int]
) -> None:
    here = {"GATECAST_DATA_DIR": str(Path(str(DATA)).resolve())}
    fresh_clone.edit("params.yaml", "  - rnn\n  - lstm\n  - gru\n", "  - gru\n")
    fresh_clone.edit(
        "params.yaml", "min_skill: 0.01", "min_skill: -1.0"
    )  # so short a training may lose
    fresh_clone.edit("params.yaml", "coverage_95: [0.85, 0.995]", "coverage_95: [0, 1]")
    fresh_clone.edit("params.yaml", "source: demo", f"source: {source}")
    fresh_clone.run("dvc", "repro", **here)
    report = json.loads((fresh_clone.path / "data/observations/ingest_report.json").read_text())
    assert {k: report[k] for k in missing} == missing
    fresh_clone.run("python", "pipelines/score.py", **here)
    (path,) = (fresh_clone.path / "forecasts" / source).glob("*/part-*.parquet")
    assert len(pd.read_parquet(path)) == series * horizon
    fresh_clone.run("python", "pipelines/monitor.py", **here)
    (run,) = json.loads((fresh_clone.path / "reports/actuals.json").read_text())["runs"]
    assert run["actuals"] == (series * horizon if source == "m4_hourly" else 0)
