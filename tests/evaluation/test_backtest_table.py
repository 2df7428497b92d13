"""``reports/backtest.parquet``: the forecasts of a backtest beside their actuals, whole or a bounded sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses as losses
from utilsforecast.evaluation import evaluate

import gatecast
from gatecast.core.errors import EvaluationError
from gatecast.data.panel import Panel
from gatecast.evaluation import backtest as backtests
from gatecast.evaluation import backtest_table, baselines
from gatecast.evaluation.backtest import Backtest, Result

Panels = Callable[..., Panel]
H = 3


@pytest.fixture(scope="module")
def backtest(make_panel: Panels) -> Backtest:
    r = np.random.default_rng(0)
    series = {k: r.normal(20, 3, 80) for k in ("north", "south", "west")}
    series["west"][66] = np.nan
    return Backtest.of(make_panel(series), stride=1)


def written(
    backtest: Backtest, shaped: Any, path: Path, rows: int = backtest_table.ROWS
) -> tuple[pd.DataFrame, list[Result]]:
    predictors = (shaped(H), baselines.naive(H))
    with backtest_table.opened(path, backtest, rows) as table:
        results = [backtest.run(p, table.of(p.name)) for p in predictors]
    return pd.read_parquet(path), results


def test_scores_of_the_table_are_those_of_the_leaderboard(
    backtest: Backtest, shaped: Any, tmp_path: Path
) -> None:
    table, results = written(backtest, shaped, tmp_path / "backtest.parquet")
    for result in results:
        rows = table[table["variant"] == result.name]
        assert len(rows) == H * len(backtest.windows)
        # with a cutoff they score every window by itself
        known = rows.dropna(subset="y").drop(columns="cutoff")
        theirs = losses.smape(known, ["gatecast"]).set_index("unique_id")["gatecast"].sort_index()
        np.testing.assert_allclose(200 * theirs, result.series["smape"], rtol=1e-5)


def test_it_has_the_columns_of_published_forecasts(
    backtest: Backtest, shaped: Any, tmp_path: Path
) -> None:
    table, _ = written(backtest, shaped, tmp_path / "backtest.parquet")
    assert list(table.columns)[:6] == [
        *("unique_id", "cutoff", "ds", "step"),
        *("gatecast", "gatecast-lo-95"),
    ]
    assert list(table.columns)[-2:] == ["y", "variant"]
    assert ((table["ds"] - table["cutoff"]) == table["step"] * pd.Timedelta("1h")).all()
    assert table["y"].isna().any()  # an actual that is unknown


def test_a_large_backtest_leaves_the_same_sample_of_windows_of_every_variant(
    backtest: Backtest, shaped: Any, tmp_path: Path
) -> None:
    table, _ = written(backtest, shaped, tmp_path / "backtest.parquet", rows=10 * H + 1)
    keys = [
        set(map(tuple, rows[["unique_id", "cutoff"]].to_numpy()))
        for _, rows in table.groupby("variant")
    ]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 10
    assert len(table) == 2 * 10 * H
    assert table["unique_id"].nunique() > 1


def test_it_does_not_depend_on_how_many_windows_are_forecast_at_once(
    backtest: Backtest, shaped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = written(backtest, shaped, tmp_path / "whole.parquet", rows=20 * H)
    monkeypatch.setattr(backtests, "_BATCHES", 1)
    monkeypatch.setattr(backtests, "at_once", lambda _: 4)
    split, _ = written(backtest, shaped, tmp_path / "split.parquet", rows=20 * H)
    pd.testing.assert_frame_equal(whole, split)


def test_an_error_leaves_no_half_written_table(
    backtest: Backtest, shaped: Any, tmp_path: Path
) -> None:
    path = tmp_path / "backtest.parquet"

    def run() -> None:
        with backtest_table.opened(path, backtest) as table:
            backtest.run(shaped(H), table.of("a"))
            backtest.run(shaped(H, poison=1), table.of("b"))

    with pytest.raises(EvaluationError, match="NAN-FORECAST"):
        run()
    assert list(tmp_path.iterdir()) == []


def test_it_is_read_as_one_column_per_variant_and_quantile(
    backtest: Backtest, shaped: Any, tmp_path: Path
) -> None:
    """utilsforecast scores what `cross_validation` returns; of the same rows, it scores the same."""
    (tmp_path / "reports").mkdir()
    table, results = written(backtest, shaped, tmp_path / "reports/backtest.parquet")
    names = [result.name for result in results]
    wide = gatecast.read_backtest(tmp_path)
    assert list(wide.columns)[:6] == [
        "unique_id",
        "ds",
        "cutoff",
        "y",
        names[0],
        f"{names[0]}-lo-95",
    ]
    assert len(wide) == H * len(backtest.windows)
    assert len(wide.columns) == 4 + 11 * len(names)
    scores = evaluate(wide.dropna(subset="y"), [losses.mae], names)
    for name in names:
        rows = table[table["variant"] == name].rename(columns={"gatecast": name})
        theirs = evaluate(rows.dropna(subset="y"), [losses.mae], [name])
        keys = ["unique_id", "cutoff"]
        pd.testing.assert_series_equal(
            scores.sort_values(keys)[name], theirs.sort_values(keys)[name], check_index=False
        )


def test_without_a_backtest_reading_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="NO-BACKTEST"):
        gatecast.read_backtest(tmp_path)
