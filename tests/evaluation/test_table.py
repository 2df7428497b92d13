"""Forecasts as tables, and tables as panels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses as losses
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.errors import IngestError
from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.data.config import Covariates, Feed
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, latest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.evaluation.table import feed_of, from_table, panel_of, to_table
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.models.config import Model
from tests.recipes import model_of

Panels = Callable[..., Panel]
START = pd.Timestamp("2025-01-01")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def predictor(panel: Panel, recipe: Model | None = None) -> NetPredictor:
    """A net with random weights."""
    import torch

    torch.manual_seed(0)
    recipe = recipe or model_of(hidden_size=8, n_steps=3, n_origins=1)
    spec = input_spec(panel, recipe)
    return NetPredictor("net", build(recipe, spec), spec, fit_scaling(panel), panel.meta)


def random_forecast(panel: Panel, windows: Windows, horizon: int = 3) -> QuantileForecast:
    values = np.sort(rng().normal(size=(len(windows), horizon, len(QUANTILES))), -1)
    return QuantileForecast(values.astype(np.float32), windows)


def test_columns_are_named_as_utilsforecast_reads_them() -> None:
    levels = {name: QUANTILES[QuantileForecast.level(name)] for name in QuantileForecast.columns}
    assert levels == {
        "gatecast": 0.5,
        "gatecast-lo-95": 0.025,
        "gatecast-hi-95": 0.975,
        "gatecast-lo-80": 0.1,
        "gatecast-hi-80": 0.9,
        "gatecast-lo-60": 0.2,
        "gatecast-hi-60": 0.8,
        "gatecast-lo-40": 0.3,
        "gatecast-hi-40": 0.7,
        "gatecast-lo-20": 0.4,
        "gatecast-hi-20": 0.6,
    }


def test_a_row_says_series_cutoff_time_step_and_quantiles(make_panel: Panels) -> None:
    panel = make_panel({"a": rng().normal(size=60), "b": rng().normal(size=40)}, begin={"b": 5})
    forecast = random_forecast(panel, Windows(np.array([1, 0]), np.array([30, 50])))
    table = to_table(panel, forecast)
    assert table["unique_id"].tolist() == ["b"] * 3 + ["a"] * 3
    assert table["step"].tolist() == [1, 2, 3] * 2
    hour = pd.Timedelta(hours=1)
    assert table["cutoff"].tolist() == [START + 34 * hour] * 3 + [START + 49 * hour] * 3
    assert (table["ds"] == table["cutoff"] + table["step"] * hour).all()
    assert table["gatecast"].tolist() == forecast.median.ravel().tolist()
    assert table["gatecast-hi-95"].tolist() == forecast.values[..., -1].ravel().tolist()


def test_months_end_where_the_calendar_says(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(40.0)}, season_length=12, frequency="MS")
    table = to_table(panel, random_forecast(panel, latest(panel)))
    assert table["cutoff"].iloc[0] == pd.Timestamp("2028-04-01")
    assert table["ds"].tolist() == list(pd.date_range("2028-05-01", periods=3, freq="MS"))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), seed=st.integers(0, 99))
def test_quantiles_survive_the_table(n: int, seed: int, make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0), "b": np.arange(60.0)})
    r = rng(seed)
    windows = Windows(np.sort(r.integers(0, 2, n)), r.integers(1, 60, n))
    values = r.normal(size=(n, 3, len(QUANTILES))).astype(np.float32)
    np.testing.assert_array_equal(
        from_table(to_table(panel, QuantileForecast(values, windows)), 3), values
    )


def test_quantiles_survive_a_file(tmp_path: object, make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)}, timezone="Europe/Berlin")
    forecast = random_forecast(panel, latest(panel))
    path = f"{tmp_path}/forecasts.parquet"
    to_table(panel, forecast).to_parquet(path)
    read = pd.read_parquet(path)
    np.testing.assert_array_equal(from_table(read, 3), forecast.values)
    assert str(read["ds"].dt.tz) == "Europe/Berlin"


def test_stamps_of_a_source_with_a_time_zone_carry_it(make_panel: Panels) -> None:
    """The axis is in UTC; March 30th 2025 has 23 hours in Berlin."""
    hours = 24 * 88 + 1  # up to and including 2025-03-30 00:00 UTC, 01:00 in Berlin
    panel = make_panel({"a": np.arange(float(hours))}, timezone="Europe/Berlin")
    table = to_table(panel, random_forecast(panel, latest(panel)))
    shown = [t.isoformat() for t in table["ds"]]
    assert table["cutoff"].iloc[0].isoformat() == "2025-03-30T01:00:00+01:00"
    assert shown == [
        "2025-03-30T03:00:00+02:00",
        "2025-03-30T04:00:00+02:00",
        "2025-03-30T05:00:00+02:00",
    ]


def test_utilsforecast_reads_the_table(make_panel: Panels) -> None:
    panel = make_panel({"a": np.arange(60.0)})
    table = to_table(panel, random_forecast(panel, latest(panel))).drop(columns="cutoff")
    table["y"] = table["gatecast"]
    found = losses.coverage(table, ["gatecast"], 95)
    assert found["gatecast"].tolist() == [1.0]


def test_a_users_frame_becomes_the_panel_the_model_was_trained_on(
    demo_panel: Panel, demo_frame: pd.DataFrame
) -> None:
    model = predictor(demo_panel)
    expected = to_table(demo_panel, model.predict(demo_panel, latest(demo_panel)))
    panel = panel_of(demo_frame.sample(frac=1, random_state=0), demo_panel.meta)
    found = to_table(panel, model.predict(panel, latest(panel)))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


def test_one_series_is_forecast_as_it_is_among_all(
    demo_panel: Panel, demo_frame: pd.DataFrame
) -> None:
    model = predictor(demo_panel)
    whole = to_table(demo_panel, model.predict(demo_panel, latest(demo_panel)))
    one = demo_frame[demo_frame["unique_id"] == "site_003"]
    panel = panel_of(one, demo_panel.meta)
    found = to_table(panel, model.predict(panel, latest(panel)))
    expected = whole[whole["unique_id"] == "site_003"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


def test_a_category_nobody_has_seen_is_forecast(
    demo_panel: Panel, demo_frame: pd.DataFrame
) -> None:
    panel = panel_of(demo_frame.assign(kind="airport"), demo_panel.meta)
    forecast = predictor(demo_panel).predict(panel, latest(panel))
    assert np.isfinite(forecast.values).all()


def test_a_cutoff_forgets_later_values_but_not_what_is_known_ahead(
    demo_panel: Panel, demo_frame: pd.DataFrame
) -> None:
    cutoff = "2025-02-05 12:00"
    panel = panel_of(demo_frame, demo_panel.meta, cutoff)
    forecast = predictor(demo_panel).predict(panel, latest(panel))
    table = to_table(panel, forecast)
    assert table["cutoff"].max() == pd.Timestamp(cutoff)
    loud = demo_frame.copy()
    loud.loc[loud["ds"] > cutoff, "y"] = 1e6
    other = panel_of(loud, demo_panel.meta, cutoff)
    np.testing.assert_array_equal(
        predictor(demo_panel).predict(other, latest(other)).values, forecast.values
    )
    warm = demo_frame.assign(
        temperature=demo_frame["temperature"] + 10.0 * (demo_frame["ds"] > cutoff)
    )
    third = panel_of(warm, demo_panel.meta, cutoff)
    assert not np.allclose(
        predictor(demo_panel).predict(third, latest(third)).values, forecast.values
    )


def test_the_target_may_have_its_own_name(make_panel: Panels) -> None:
    """A source whose recipe says ``target: load``, as most do."""
    load = rng().normal(50, 5, 60)
    panel = make_panel({"a": load}, target="load")
    model = predictor(panel)
    expected = model.predict(panel, latest(panel)).values
    ds = pd.date_range(START, periods=60, freq="h")
    for name in ("load", "y"):
        frame = pd.DataFrame({"unique_id": "a", "ds": ds, name: load})
        read = panel_of(frame, panel.meta)
        np.testing.assert_allclose(model.predict(read, latest(read)).values, expected, rtol=1e-4)


def test_a_source_with_a_time_zone_answers_in_that_zone(make_panel: Panels) -> None:
    y = rng().normal(50, 5, 60)
    panel = make_panel({"a": y}, timezone="Europe/Berlin")
    model = predictor(panel)
    expected = to_table(panel, model.predict(panel, latest(panel)))
    ds = pd.date_range(START, periods=60, freq="h", tz="UTC").tz_convert("Europe/Berlin")
    read = panel_of(pd.DataFrame({"unique_id": "a", "ds": ds, "y": y}), panel.meta)
    found = to_table(read, model.predict(read, latest(read)))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


def test_ids_may_be_numbers_as_in_a_feed(make_panel: Panels) -> None:
    panel = make_panel({"7": np.arange(20.0)}, horizon=2)
    ds = pd.date_range("2025-01-01", periods=5, freq=panel.meta.frequency)
    read = panel_of(pd.DataFrame({"unique_id": 7, "ds": ds, "y": np.arange(5.0)}), panel.meta)
    assert list(read.ids) == ["7"]


def test_a_missing_column_is_named(demo_panel: Panel, demo_frame: pd.DataFrame) -> None:
    with pytest.raises(IngestError, match=r"COLUMN-MISSING.*'temperature'.*mean 'temprature'"):
        panel_of(demo_frame.rename(columns={"temperature": "temprature"}), demo_panel.meta)


def test_more_columns_than_needed_do_not_matter(
    demo_panel: Panel, demo_frame: pd.DataFrame
) -> None:
    meta = demo_panel.meta
    one, other = panel_of(demo_frame, meta), panel_of(demo_frame.assign(line=0, extra="x"), meta)
    assert one.meta.data_hash == other.meta.data_hash


def test_a_recipe_is_recovered_from_what_the_panel_means(
    demo_panel: Panel, demo_feed: Feed
) -> None:
    feed = feed_of(demo_panel.meta)
    assert feed.covariates == demo_feed.covariates
    assert (feed.frequency, feed.task.horizon, feed.task.season_length) == ("h", 24, 24)


def test_a_text_static_that_was_never_declared_categorical_is_still_one(make_panel: Panels) -> None:
    roles = Covariates(static=["kind"])
    panel = make_panel({"a": rng().normal(size=60)}, static={"kind": {"a": "x"}}, covariates=roles)
    assert feed_of(panel.meta).covariates.categorical == ["kind"]


def test_whole_numbers_as_categories_keep_their_codes(make_panel: Panels) -> None:
    """A user's frame has them as integers, as strings, or as floats where a value is missing."""
    weather = np.arange(60) % 3 + 1
    roles = Covariates(future=["weather"], categorical=["weather"])
    texts = {"weather": {"a": weather.astype(str).astype(object)}}
    y = rng().normal(size=60)
    panel = make_panel({"a": y}, texts, covariates=roles)
    ds = pd.date_range(START, periods=60, freq="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": y})
    for kind in ("int64", "str", "float64"):
        read = panel_of(frame.assign(weather=pd.Series(weather).astype(kind)), panel.meta)
        assert read.meta.channels[1].categories == ["1", "2", "3"], kind
