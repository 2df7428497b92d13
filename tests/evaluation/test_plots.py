"""Pictures are written, whatever the data look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from gatecast.data.panel import Panel
from gatecast.evaluation import baselines, plots
from gatecast.evaluation.backtest import Backtest, Result
from tests.evaluation.conftest import Shaped

Panels = Callable[..., Panel]


def backtest_of(make_panel: Panels, n: int) -> Backtest:
    r = np.random.default_rng(0)
    return Backtest.of(make_panel({f"s{i}": r.normal(20, 3, 80) for i in range(n)}))


def is_picture(path: Path) -> bool:
    """A PNG with something drawn on it."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return len(np.unique(matplotlib.image.imread(path))) > 20


def draw(backtest: Backtest, result: Result, path: Path) -> None:
    plots.fans(backtest, Shaped(3), result, plots.choose(result.series), path)


@pytest.mark.parametrize("metric", ["mase", "rmsse"])
def test_error_by_step_is_a_picture(
    metric: str, tmp_path: Path, make_panel: Panels, shaped: Any
) -> None:
    backtest = backtest_of(make_panel, 2)
    predictors = (baselines.naive(3), baselines.seasonal_naive(3, 4), shaped(3))
    path = tmp_path / "reports" / "error.png"
    plots.error_by_step([backtest.run(p) for p in predictors], metric, path)
    assert is_picture(path)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_fans_are_a_picture(n: int, tmp_path: Path, make_panel: Panels, shaped: Any) -> None:
    backtest = backtest_of(make_panel, n)
    draw(backtest, backtest.run(shaped(3)), tmp_path / "fan.png")
    assert is_picture(tmp_path / "fan.png")


def test_an_easy_a_typical_and_a_hard_series_are_shown(make_panel: Panels, shaped: Any) -> None:
    result = backtest_of(make_panel, 11)
    scores = np.array([5, 3, 8, 0, 10, 1, 7, 2, 9, 4, 6], float)  # each is its own rank
    run = result.run(shaped(3))
    graded = run.series.assign(mase=scores)
    assert {k: scores[v] for k, v in plots.choose(graded).items()} == {
        "easy": 1,
        "typical": 5,
        "worst": 10,
    }


def test_a_series_is_shown_once(make_panel: Panels, shaped: Any) -> None:
    result = backtest_of(make_panel, 1).run(shaped(3))
    assert plots.choose(result.series) == {"typical": 0}


def test_pictures_of_one_result_are_the_same_bytes(
    tmp_path: Path, make_panel: Panels, shaped: Any
) -> None:
    backtest = backtest_of(make_panel, 3)
    result = backtest.run(shaped(3))
    for name in ("a.png", "b.png"):
        draw(backtest, result, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_constant_series_without_any_mase_have_pictures_too(
    tmp_path: Path, make_panel: Panels, shaped: Any
) -> None:
    panel = make_panel({"flat": np.full(80, 7.0), "level": np.full(80, 3.0)})
    backtest = Backtest.of(panel)
    results = [backtest.run(p) for p in (baselines.naive(3), shaped(3))]
    draw(backtest, results[1], tmp_path / "fan.png")
    plots.error_by_step(results, "mase", tmp_path / "error.png")
    plots.calibration(results, tmp_path / "calibration.png")
    assert is_picture(tmp_path / "calibration.png")
    assert is_picture(tmp_path / "fan.png")
    assert is_picture(tmp_path / "error.png")


def test_series_with_gaps_and_late_starts_have_fans(
    tmp_path: Path, make_panel: Panels, shaped: Any
) -> None:
    values = np.random.default_rng(0).normal(20, 3, 80)
    values[60:70] = np.nan
    late = np.random.default_rng(1).normal(20, 3, 15)
    panel = make_panel({"a": values, "late": late}, begin={"late": 65})
    backtest = Backtest.of(panel)
    draw(backtest, backtest.run(shaped(3)), tmp_path / "fan.png")
    assert is_picture(tmp_path / "fan.png")


def test_no_figure_stays_open(tmp_path: Path, make_panel: Panels, shaped: Any) -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
    backtest = backtest_of(make_panel, 2)
    draw(backtest, backtest.run(shaped(3)), tmp_path / "fan.png")
    assert plt.get_fignums() == []
