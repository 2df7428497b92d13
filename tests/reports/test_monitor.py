"""Forecasts beside what came true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import ScoringError
from gatecast.data.config import Feed, FileFeed, RawFile, Splits, Task
from gatecast.reports import monitor
from gatecast.scoring import read_forecasts
from gatecast.scoring.run import score


def test_forecasts_are_scored_when_their_values_arrive(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    score(daily_feed, "2024-05-15")  # four of seven days are known
    (run,) = monitor.monitor(daily_feed)["runs"]
    assert run["actuals"] == 4 * 4
    table = read_forecasts("sales").merge(
        pd.read_csv("sales.csv", parse_dates=["ds"]), on=["unique_id", "ds"]
    )
    assert run["scores"]["wape"] == pytest.approx(
        (table["y"] - table["gatecast"]).abs().sum() / table["y"].sum(), abs=1e-5
    )


def test_nothing_known_yet_is_said_so(daily_feed: Feed, promote: Callable[[Feed], Any]) -> None:
    promote(daily_feed)
    score(daily_feed)
    content = monitor.monitor(daily_feed)
    assert content["runs"][0]["scores"] is None
    assert "0 of 28 forecasts have come true" in monitor.line(content)


def test_without_forecasts_the_way_out_is_named(daily_feed: Feed) -> None:
    with pytest.raises(ScoringError) as caught:
        monitor.monitor(daily_feed)
    assert caught.value.code == "NO-FORECASTS"


def test_actuals_without_stamps_follow_each_series_own_end(
    project: Path, promote: Callable[[Feed], Any]
) -> None:
    rng = np.random.default_rng(0)
    long, short = (
        20 + 5 * np.sin(np.arange(n) * 2 * np.pi / 24) + rng.normal(0, 0.1, n) for n in (620, 600)
    )

    def wide(rows: dict[str, np.ndarray], path: str) -> None:
        width = max(map(len, rows.values()))
        lines = [",".join(f'"V{i + 1}"' for i in range(width + 1))]
        lines += [
            ",".join([f'"{k}"', *(f'"{v:.3f}"' for v in values), *[""] * (width - len(values))])
            for k, values in rows.items()
        ]
        Path(path).write_text("\n".join(lines) + "\n")

    wide({"H1": short[:-24], "H2": long[:-24]}, "train.csv")
    wide({"H2": long[-24:], "H1": short[-24:]}, "test.csv")
    feed = FileFeed(
        name="m4", layout="wide_rows", files=[RawFile(path="train.csv")], actuals=RawFile(path="test.csv"), id="V1",
        start="2000-01-01", frequency="h", calendar=False,
        task=Task(horizon=24, season_length=24, splits=Splits(by="series_end", validation=24, test=24)),
    )  # fmt: skip
    promote(feed)
    score(feed)
    (run,) = monitor.monitor(feed)["runs"]
    assert run["actuals"] == 48
    table = (
        read_forecasts("m4")
        .sort_values(["unique_id", "step"])["gatecast"]
        .to_numpy()
        .reshape(2, 24)
    )
    truth = np.stack([short[-24:], long[-24:]]).round(3)
    scale = [np.abs(s[24:] - s[:-24]).mean() for s in (short[:-24].round(3), long[:-24].round(3))]
    expected = np.mean(
        [np.abs(t - f).mean() / s for t, f, s in zip(truth, table, scale, strict=True)]
    )
    assert run["scores"]["mase"] == pytest.approx(expected, rel=1e-4)
    assert feed.model_copy(update={"actuals": None}).actuals is None


def test_actuals_are_read_by_the_rules_of_the_recipe(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    score(daily_feed)
    assert isinstance(daily_feed, FileFeed)
    Path("later.csv").write_text("unique_id,ds,y\ns0,2024-05-20,50\ns0,2024-05-20,60\ns0,never,1\n")
    rules = {
        "actuals": RawFile(path="later.csv"),
        "duplicates": "mean",
        "bad_rows": "quarantine",
    }
    (run,) = monitor.monitor(daily_feed.model_copy(update=rules))["runs"]
    assert run["actuals"] == 1
    table = read_forecasts("sales").query("unique_id == 's0' and step == 1")
    assert run["scores"]["wape"] == pytest.approx(abs(55 - table["gatecast"].item()) / 55, abs=1e-5)
