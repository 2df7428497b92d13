"""Every score against a computation that shares no line with ours: utilsforecast, loops, or by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses as losses
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss

from gatecast.core.forecast import MEDIAN, QUANTILES, QuantileForecast
from gatecast.data.config import Splits
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, rolling_origins, targets
from gatecast.evaluation import config, metrics
from gatecast.evaluation.metrics import DECILES, Scores

Panels = Callable[..., Panel]
M, H = 4, 3
NAN = float("nan")


@dataclass
class Scored:
    """A panel, forecasts of its test windows, and our scores of them."""

    panel: Panel
    y: np.ndarray
    forecast: QuantileForecast
    scores: Scores
    table: pd.DataFrame  # a row per known target: unique_id, y, a column per level
    train: pd.DataFrame  # what precedes the test span

    @property
    def series(self) -> pd.DataFrame:
        found = self.scores.series()
        return found.set_axis(self.panel.ids[found.index])

    @property
    def pooled(self) -> dict[str, float]:
        return self.scores.pooled()

    @property
    def steps(self) -> pd.DataFrame:
        return self.scores.steps()


def score(panel: Panel, seed: int, missing: float) -> Scored:
    r = np.random.default_rng(seed)
    windows = rolling_origins(panel, "test")
    y = targets(panel, windows)
    y[r.random(y.shape) < missing] = np.nan
    centre = np.nan_to_num(y, nan=5.0)[..., None] + r.normal(0, 3, (*y.shape, 1))
    values = centre + np.sort(r.normal(0, 3, (*y.shape, len(QUANTILES))), -1)
    forecast = QuantileForecast(values.astype(np.float32), windows)
    scores = metrics.score(y, forecast, metrics.scales(panel))
    ids = np.repeat(panel.ids[windows.series], H)
    table = pd.DataFrame({"unique_id": ids, "y": y.ravel().astype(float)})
    table["ds"] = np.arange(len(table))
    for i, q in enumerate(QUANTILES):
        table[str(q)] = forecast.values[..., i].ravel().astype(float)
    rows = []
    for i, name in enumerate(panel.ids):
        end = panel.split_points[1][i]
        known = panel.values[panel.indptr[i] : panel.indptr[i] + end, 0].astype(float)
        rows.append(pd.DataFrame({"unique_id": name, "ds": np.arange(end), "y": known}))
    return Scored(panel, y, forecast, scores, table.dropna(), pd.concat(rows, ignore_index=True))


@pytest.fixture(scope="module", params=[0.0, 0.2], ids=["complete", "gaps"])
def scored(request: pytest.FixtureRequest, make_panel: Panels) -> Scored:
    r = np.random.default_rng(3)
    season = np.array([5.0, 9.0, -2.0, 4.0])
    series = {
        k: season[np.arange(100) % M] + r.normal(0, s, 100)
        for k, s in (("a", 1), ("b", 2), ("c", 5))
    }
    return score(make_panel(series, horizon=H, season_length=M), 1, request.param)


def by_series(table: pd.DataFrame) -> pd.Series:
    return table.set_index("unique_id").iloc[:, -1].sort_index()


def test_smape_is_utilsforecasts(scored: Scored) -> None:
    theirs = by_series(losses.smape(scored.table, ["0.5"]))
    np.testing.assert_allclose(scored.series["smape"], 200 * theirs, rtol=1e-5)
    assert scored.pooled["smape"] == pytest.approx(200 * theirs.mean(), rel=1e-5)


def test_mase_is_utilsforecasts(scored: Scored) -> None:
    theirs = by_series(losses.mase(scored.table, ["0.5"], M, scored.train))
    np.testing.assert_allclose(scored.series["mase"], theirs, rtol=1e-5)
    assert scored.pooled["mase"] == pytest.approx(theirs.mean(), rel=1e-5)


def test_rmsse_is_utilsforecasts(scored: Scored) -> None:
    theirs = by_series(losses.rmsse(scored.table, ["0.5"], M, scored.train))
    np.testing.assert_allclose(scored.series["rmsse"], theirs, rtol=1e-5)
    assert scored.pooled["rmsse"] == pytest.approx(theirs.mean(), rel=1e-5)


@pytest.mark.parametrize(("level", "low", "high"), [(95, "0.025", "0.975"), (80, "0.1", "0.9")])
def test_coverage_is_utilsforecasts(level: int, low: str, high: str, scored: Scored) -> None:
    table = scored.table.assign(m=0.0)
    table[f"m-lo-{level}"], table[f"m-hi-{level}"] = table[low], table[high]
    theirs = by_series(losses.coverage(table, ["m"], level))
    np.testing.assert_allclose(scored.series[f"coverage_{level}"], theirs, rtol=1e-6)
    inside = table["y"].between(table[low], table[high])
    assert scored.pooled[f"coverage_{level}"] == pytest.approx(inside.mean(), rel=1e-6)
    width = (table[high] - table[low]).mean() / table["y"].abs().mean()
    assert scored.pooled[f"width_{level}"] == pytest.approx(width, rel=1e-5)


def test_wql_is_the_sum_of_utilsforecasts_losses_of_nine_deciles_over_the_sum_of_values(
    scored: Scored,
) -> None:
    table = scored.table.assign(unique_id=np.arange(len(scored.table)))  # a loss a row
    deciles = [k / 10 for k in range(1, 10)]
    total = [by_series(losses.quantile_loss(table, {str(q): str(q)}, q)).sum() for q in deciles]
    expected = 2 * np.mean(total) / table["y"].abs().sum()
    assert scored.pooled["wql"] == pytest.approx(expected, rel=1e-5)


def test_wql_is_the_mean_of_scikit_learns_pinball_losses_over_the_mean_size(scored: Scored) -> None:
    y = scored.table["y"]
    deciles = [k / 10 for k in range(1, 10)]
    each = [mean_pinball_loss(y, scored.table[str(q)], alpha=q) for q in deciles]
    assert scored.pooled["wql"] == pytest.approx(2 * np.mean(each) / y.abs().mean(), rel=1e-5)


def test_msis_is_what_the_m4_paper_writes(scored: Scored) -> None:
    """Mean scaled interval score (Makridakis et al. 2020, section 3.2.2), a series at a time."""
    a, each = 0.05, {}
    for name, of_series in scored.table.groupby("unique_id"):
        y, low, high = (of_series[c].to_numpy() for c in ("y", "0.025", "0.975"))
        train = scored.train.loc[scored.train["unique_id"] == name, "y"].to_numpy()
        scale = np.mean(np.abs(train[M:] - train[:-M]))
        total = 0.0
        for k in range(len(y)):
            total += high[k] - low[k]
            total += 2 / a * (low[k] - y[k]) * (y[k] < low[k])
            total += 2 / a * (y[k] - high[k]) * (y[k] > high[k])
        each[name] = total / len(y) / scale
    np.testing.assert_allclose(scored.series["msis"], pd.Series(each).sort_index(), rtol=1e-5)
    assert scored.pooled["msis"] == pytest.approx(np.mean(list(each.values())), rel=1e-5)


def test_owa_is_the_mean_of_both_relative_scores() -> None:
    """Relative to itself a reference has 1; a third of one error and all of the other is two thirds."""
    assert metrics.owa(18.383, 2.395, 18.383, 2.395) == 1
    assert metrics.owa(6.0, 2.0, 18.0, 2.0) == pytest.approx(2 / 3)
    assert metrics.owa(18.0, 2.0, 18.0, 6.0) == pytest.approx(2 / 3)


def test_wape_and_bias_are_sums_over_sums(scored: Scored) -> None:
    y, f = scored.table["y"], scored.table["0.5"]
    assert scored.pooled["wape"] == pytest.approx((y - f).abs().sum() / y.abs().sum(), rel=1e-5)
    assert scored.pooled["bias"] == pytest.approx((f - y).sum() / y.abs().sum(), rel=1e-5)
    groups = scored.table.groupby("unique_id")
    theirs = groups.apply(lambda g: (g["y"] - g["0.5"]).abs().sum() / g["y"].abs().sum())
    np.testing.assert_allclose(scored.series["wape"], theirs, rtol=1e-5)


def test_errors_in_z_space_are_those_of_standardised_series(scored: Scored) -> None:
    """Standardise by the training span as the ETT benchmark does, then take plain MAE and MSE."""
    train_end = scored.panel.split_points[0]
    spread = {
        name: scored.train.loc[scored.train["unique_id"] == name, "y"][:end].std(ddof=0)
        for name, end in zip(scored.panel.ids, train_end, strict=True)
    }
    z = (scored.table["y"] - scored.table["0.5"]) / scored.table["unique_id"].map(spread)
    assert scored.pooled["mae_z"] == pytest.approx(z.abs().mean(), rel=1e-5)
    assert scored.pooled["mse_z"] == pytest.approx((z**2).mean(), rel=1e-5)


def test_scores_count_their_series_and_values(scored: Scored) -> None:
    found = scored.pooled
    assert found["series"] == found["series_with_scale"] == 3
    assert found["values"] == len(scored.table)
    assert scored.series["n"].tolist() == scored.table.groupby("unique_id").size().tolist()


def test_every_step_is_scored_like_a_table_of_that_step_alone(scored: Scored) -> None:
    known = ~np.isnan(scored.y)
    step = np.broadcast_to(np.arange(1, H + 1), scored.y.shape)[known]
    for k, row in scored.steps.set_index("step").iterrows():
        table = scored.table[step == k]
        error, size = (table["y"] - table["0.5"]).abs(), table["y"].abs().sum()
        mase = by_series(losses.mase(table, ["0.5"], M, scored.train)).mean()
        assert row["mase"] == pytest.approx(mase, rel=1e-5)
        smape = 200 * by_series(losses.smape(table, ["0.5"])).mean()
        assert row["smape"] == pytest.approx(smape, rel=1e-5)
        assert row["wape"] == pytest.approx(error.sum() / size, rel=1e-5)
        inside = table["y"].between(table["0.1"], table["0.9"]).mean()
        assert row["coverage_80"] == pytest.approx(inside, rel=1e-5)


def test_steps_add_up_to_the_pooled_scores(scored: Scored) -> None:
    size = np.nansum(np.abs(scored.y), 0)
    n = (~np.isnan(scored.y)).sum(0)
    for name in ("wape", "wql"):
        whole = np.average(scored.steps[name], weights=size)
        assert whole == pytest.approx(scored.pooled[name], rel=1e-6)
    whole = np.average(scored.steps["coverage_95"], weights=n)
    assert whole == pytest.approx(scored.pooled["coverage_95"], rel=1e-6)


def test_series_add_up_to_the_pooled_scores(scored: Scored) -> None:
    table, pooled = scored.series, scored.pooled
    for name in ("mase", "smape", "rmsse"):
        assert table[name].mean() == pytest.approx(pooled[name])
    assert np.average(table["wape"], weights=table["sum_y"]) == pytest.approx(pooled["wape"])
    assert np.average(table["coverage_80"], weights=table["n"]) == pytest.approx(
        pooled["coverage_80"]
    )


def test_a_missing_target_counts_nowhere(make_panel: Panels) -> None:
    r = np.random.default_rng(0)
    panel = make_panel({"a": r.normal(size=60), "b": r.normal(size=60)})
    windows = rolling_origins(panel, "test")
    y = targets(panel, windows)
    y[::2, 1] = np.nan
    y[1] = np.nan
    first = r.normal(size=(*y.shape, len(QUANTILES)))
    second = np.where(np.isnan(y)[..., None], 1e9, first)
    found = []
    for values in (first, second):
        scores = metrics.score(y, QuantileForecast(values, windows), metrics.scales(panel))
        found.append((scores.pooled(), scores.steps()))
    assert found[0][0] == found[1][0]
    pd.testing.assert_frame_equal(found[0][1], found[1][1])


def hand(
    panel: Panel, y: list[list[float]], point: list[list[float]], series: list[int]
) -> dict[str, float]:
    windows = Windows(np.array(series), np.full(len(series), 40))
    values = np.repeat(np.array(point, float)[..., None], len(QUANTILES), -1)
    return metrics.score(
        np.array(y), QuantileForecast(values, windows), metrics.scales(panel)
    ).pooled()


def test_scores_by_hand(make_panel: Panels) -> None:
    """In-sample seasonal steps of 2 and 4; two values of the first series, one of the second."""
    t = np.arange(60)
    panel = make_panel({"a": 2.0 * (t // 2), "b": 4.0 * (t // 2)}, season_length=2, horizon=2)
    found = hand(panel, [[100, 50], [10, NAN]], [[80, 50], [18, 7]], [0, 1])
    assert found["smape"] == pytest.approx((200 * 20 / 180 / 2 + 200 * 8 / 28) / 2)
    assert found["mase"] == pytest.approx((20 / 2 / 2 + 8 / 4) / 2)
    assert found["rmsse"] == pytest.approx((np.sqrt(20**2 / 4 / 2) + 8 / 4) / 2)
    assert found["wape"] == pytest.approx(28 / 160)
    assert found["bias"] == pytest.approx((-20 + 8) / 160)
    levels = np.array(DECILES)
    assert found["wql"] == pytest.approx(2 * (20 * levels.mean() + 8 * (1 - levels).mean()) / 160)
    assert found["coverage_95"] == pytest.approx(1 / 3)
    assert found["width_95"] == 0


def test_a_perfect_forecast_has_no_error_and_full_coverage(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    found = hand(panel, [[1, 2, 3]], [[1, 2, 3]], [0])
    assert [found[k] for k in ("mase", "smape", "rmsse", "wape", "wql", "bias")] == [0] * 6
    assert found["coverage_80"] == found["coverage_95"] == 1


def test_zero_forecast_of_zero_is_no_percentage_error(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    assert hand(panel, [[0, 0, 4]], [[0, 1, 4]], [0])["smape"] == pytest.approx(200 / 3)


def test_a_series_counts_as_one_however_many_windows_it_has(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0), "b": np.arange(60.0)})
    once = hand(panel, [[9, 9, 9], [8, 8, 8]], [[5, 5, 5], [7, 7, 7]], [0, 1])
    often = hand(panel, [[9, 9, 9]] * 3 + [[8, 8, 8]], [[5, 5, 5]] * 3 + [[7, 7, 7]], [0, 0, 0, 1])
    for name in ("mase", "smape", "rmsse"):
        assert often[name] == pytest.approx(once[name])


def test_a_constant_series_has_no_mase_and_is_counted_out(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0), "flat": np.full(60, 7.0)})
    found = hand(panel, [[9, 9, 9], [7, 7, 8]], [[5, 5, 5], [7, 7, 7]], [0, 1])
    alone = hand(panel, [[9, 9, 9]], [[5, 5, 5]], [0])
    assert (found["series"], found["series_with_scale"]) == (2, 1)
    for name in ("mase", "rmsse", "mse_z", "mae_z"):
        assert found[name] == pytest.approx(alone[name])
    assert found["wape"] == pytest.approx(13 / 49)


def test_only_constant_series_leave_no_mase_at_all(make_panel: Panels) -> None:
    panel = make_panel({"flat": np.full(60, 7.0)})
    found = hand(panel, [[7, 7, 8]], [[7, 7, 7]], [0])
    assert np.isnan([found["mase"], found["rmsse"], found["mse_z"]]).all()
    assert found["wape"] == pytest.approx(1 / 22)


def test_values_that_are_all_zero_leave_no_wape(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    found = hand(panel, [[0, 0, 0]], [[1, 1, 1]], [0])
    assert np.isnan([found["wape"], found["wql"], found["bias"]]).all()
    assert found["smape"] == 200


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_scales_are_what_loops_find(data: st.DataObject, make_panel: Panels) -> None:
    season = data.draw(st.integers(1, 8))
    r = np.random.default_rng(data.draw(st.integers(0, 99)))
    series, begin = {}, {}
    for name in "abc":
        n = data.draw(st.integers(20, 60))
        values = r.integers(0, 5, n).astype(float)
        values[r.random(n) < 0.3] = NAN
        values[0] = values[-1] = 3.0
        series[name], begin[name] = values, int(r.integers(0, 10))
    panel = make_panel(
        series,
        season_length=season,
        begin=begin,
        splits=Splits(by="series_end", validation=5, test=6),
        feasible=False,
    )
    found = metrics.scales(panel)
    for i, name in enumerate(panel.ids):
        y, n = series[name], len(series[name])
        pairs = [y[t] - y[t - season] for t in range(season, n - 6)]
        steps = [d for d in pairs if not np.isnan(d)]
        absolute = np.mean(np.abs(steps)) if steps else NAN
        squared = np.mean(np.square(steps)) if steps else NAN
        spread = np.nanstd(y[: n - 11])
        np.testing.assert_allclose(found.absolute[i], absolute or NAN, rtol=1e-9)
        np.testing.assert_allclose(found.squared[i], squared or NAN, rtol=1e-9)
        np.testing.assert_allclose(found.spread[i], spread or NAN, rtol=1e-9)


def test_scales_do_not_see_the_test_span(make_panel: Panels) -> None:
    r = np.random.default_rng(0)
    values = r.normal(size=60)
    panel = make_panel({"a": values})
    loud = values.copy()
    loud[int(panel.split_points[1][0]) :] *= 1e6
    for a, b in zip(
        vars(metrics.scales(panel)).values(),
        vars(metrics.scales(make_panel({"a": loud}))).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_the_in_sample_part_can_end_elsewhere(make_panel: Panels) -> None:
    values = np.concatenate([np.arange(30.0), 30 + 5 * np.arange(30.0)])
    panel = make_panel({"a": values}, season_length=1)
    assert metrics.scales(panel, np.array([30])).absolute[0] == pytest.approx(1)
    whole = np.abs(np.diff(values)).mean()
    assert metrics.scales(panel, np.array([60])).absolute[0] == pytest.approx(whole)


def test_the_point_forecast_is_the_median(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    values = np.zeros((1, 3, len(QUANTILES)))
    values[..., MEDIAN], values[..., MEDIAN + 1 :] = 5.0, 100.0
    forecast = QuantileForecast(values, Windows(np.array([0]), np.array([40])))
    scores = metrics.score(np.full((1, 3), 7.0), forecast, metrics.scales(panel))
    assert scores.pooled()["wape"] == pytest.approx(2 / 7)


def test_what_one_may_promote_by_is_a_metric_with_a_curve_by_step() -> None:
    assert all(metrics.METRICS[name].by_step for name in config.METRICS)


def test_a_batch_does_not_go_back_to_a_series_before_the_last_one(make_panel: Panels) -> None:
    panel = make_panel({name: np.arange(60.0) for name in "ab"})
    scales = metrics.scales(panel)
    scores = Scores(np.array([0, 1]), 3)

    def batch(series: int, origin: int) -> metrics.Batch:
        windows = Windows(np.array([series]), np.array([origin]))
        return metrics.Batch(windows, np.ones((1, 3)), np.ones((1, 3, len(QUANTILES))), scales)

    scores.add(batch(series=1, origin=40))
    scores.add(batch(series=1, origin=43))
    with pytest.raises(AssertionError, match="order of their series"):
        scores.add(batch(series=0, origin=40))
