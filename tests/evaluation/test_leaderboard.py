"""The leaderboard: order, skill, and files that a machine can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.data.panel import Panel
from gatecast.evaluation import baselines, leaderboard
from gatecast.evaluation.backtest import Backtest, Result

Panels = Callable[..., Panel]


@pytest.fixture(scope="module")
def panel(make_panel: Panels) -> Panel:
    r = np.random.default_rng(0)
    return make_panel({k: r.normal(20, 3, 80) for k in ("north", "south")})


@pytest.fixture
def results(panel: Panel, shaped: Any) -> list[Result]:
    backtest = Backtest.of(panel)
    predictors = [
        shaped(3, base=500.0, name="bad"),
        baselines.naive(3),
        baselines.seasonal_naive(3, 4),
        shaped(3, base=18.0, name="good"),
    ]
    return [backtest.run(p) for p in predictors]


def strict(path: Path) -> dict[str, Any]:
    """JSON as the standard has it: without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in {path.name}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("metric", ["mase", "smape", "rmsse", "wape", "wql"])
def test_the_best_comes_first(metric: str, results: list[Result]) -> None:
    table = leaderboard.leaderboard(results, metric)
    assert table.index[0] == "good"
    assert table.index[-1] == "bad"
    assert table[metric].is_monotonic_increasing


def test_skill_is_the_part_of_seasonal_naives_error_that_is_gone(results: list[Result]) -> None:
    table = leaderboard.leaderboard(results, "mase")
    expected = 1 - results[3].pooled["mase"] / results[2].pooled["mase"]
    assert table.loc["good", "skill"] == pytest.approx(expected)
    assert table.loc["seasonal_naive", "skill"] == 0


def test_the_winner_is_the_best_that_is_no_baseline(results: list[Result]) -> None:
    assert leaderboard.winner(leaderboard.leaderboard(results, "mase")) == "good"
    assert leaderboard.winner(leaderboard.leaderboard(results[:3], "mase")) == "bad"


def test_a_variant_without_a_score_comes_last(results: list[Result]) -> None:
    blind = replace(results[3], name="blind", pooled=results[3].pooled | {"mase": float("nan")})
    table = leaderboard.leaderboard([blind, *results], "mase")
    assert table.index[-1] == "blind"
    assert leaderboard.winner(table) == "good"


def written(folder: Path, panel: Panel, results: list[Result], metric: str = "mase") -> None:
    table = leaderboard.leaderboard(results, metric)
    digests = {"good": "d1", "bad": "d2"}
    leaderboard.write(folder, results, table, panel, Backtest.of(panel), metric, digests)


def test_the_files_say_what_was_compared(
    tmp_path: Path, panel: Panel, results: list[Result]
) -> None:
    written(tmp_path, panel, results)
    board = strict(tmp_path / "leaderboard.json")
    assert (board["best"], board["metric"], board["source"]) == ("good", "mase", "tiny")
    assert board["data_hash"] == panel.meta.data_hash
    assert board["digests"] == {"good": "d1", "bad": "d2"}
    assert (board["horizon"], board["series"]) == (3, 2)
    assert board["origins"] == len(Backtest.of(panel).windows)
    assert list(board["scores"]) == ["good", *[n for n in board["scores"] if n != "good"]]
    assert board["scores"]["good"]["wql"] == pytest.approx(results[3].pooled["wql"], abs=1e-6)


def test_tables_hold_every_variant(tmp_path: Path, panel: Panel, results: list[Result]) -> None:
    written(tmp_path, panel, results)
    csv = pd.read_csv(tmp_path / "leaderboard.csv", index_col="variant")
    assert csv.index[0] == "good"
    assert csv.loc["good", "mase"] == pytest.approx(results[3].pooled["mase"], abs=1e-6)
    steps = pd.read_csv(tmp_path / "error_by_step.csv")
    assert steps.groupby("variant")["step"].apply(list).to_dict()["good"] == [1, 2, 3]
    series = pd.read_parquet(tmp_path / "per_series.parquet")
    assert set(zip(series["variant"], series["unique_id"], strict=True)) == {
        (v, s) for v in ("good", "bad", "naive", "seasonal_naive") for s in ("north", "south")
    }


def test_the_json_has_null_where_there_is_no_number(
    tmp_path: Path, make_panel: Panels, shaped: Any
) -> None:
    """A constant series has no MASE, and seasonal naive's error is zero."""
    panel = make_panel({"flat": np.full(80, 7.0)})
    backtest = Backtest.of(panel)
    predictors = (baselines.naive(3), baselines.seasonal_naive(3, 4), shaped(3, name="good"))
    for metric in ("mase", "wape"):
        written(tmp_path, panel, [backtest.run(p) for p in predictors], metric)
        scores = strict(tmp_path / "leaderboard.json")["scores"]["good"]
        assert scores["mase"] is None
        assert scores["skill"] is None
        assert scores["wape"] is not None


def test_the_files_do_not_depend_on_how_long_anything_took(
    tmp_path: Path, panel: Panel, results: list[Result]
) -> None:
    written(tmp_path / "a", panel, results)
    written(tmp_path / "b", panel, [replace(r, seconds=r.seconds + 1) for r in results])
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == [
        "error_by_step.csv",
        "leaderboard.csv",
        "leaderboard.json",
        "per_series.parquet",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_terminal_table_marks_the_winner(results: list[Result]) -> None:
    table = leaderboard.leaderboard(results, "mase")
    shown = leaderboard.render(table, "a title")
    lines = shown.splitlines()
    assert lines[0].strip() == "a title"
    assert [w.split()[1] for w in lines if w.split()[:1] == ["good"]] == ["*"]
    assert f"{results[3].pooled['mase']:.3f}" in shown
    assert f" {100 * table['skill'].iloc[0]:.1f}% " in shown


def test_the_terminal_table_shows_a_dash_where_there_is_no_number(
    make_panel: Panels, shaped: Any
) -> None:
    backtest = Backtest.of(make_panel({"flat": np.full(80, 7.0)}))
    runs = [backtest.run(p) for p in (baselines.seasonal_naive(3, 4), shaped(3, name="good"))]
    shown = leaderboard.render(leaderboard.leaderboard(runs, "mase"), "t")
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["good"])
    assert row.split()[2:4] == ["-", "-"]
