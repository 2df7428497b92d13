"""The embedded demo: the same every time, whatever day is played, with everything that happens to real feeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.errors import GatecastError, IngestError
from gatecast.data import contract, ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Demo, DemoFeed, Feed, Splits, Task
from gatecast.data.sources import demo

SIZE = Demo(n_series=100, n_days=80)  # series 10 dies, series 7 begins late
COLUMNS = ["y", "region", "kind", "temperature", "promotion", "holiday"]
Ingested = Callable[..., contract.Checked]


@pytest.fixture(scope="module")
def feed() -> pd.DataFrame:
    return demo.generate(SIZE)


@pytest.fixture(scope="module")
def recipe() -> Feed:
    names = ["region", "kind"]
    covariates = Covariates(
        static=names, past=[], future=["temperature", "promotion", "holiday"], categorical=names
    )
    task = Task(
        horizon=48, season_length=24, stride=24, splits=Splits(by="time", validation=0.1, test=0.2)
    )
    return DemoFeed(
        name="demo", kind="demo", frequency="h", covariates=covariates, demo=SIZE, task=task
    )


def keyed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates(["unique_id", "ds"]).set_index(["unique_id", "ds"])[COLUMNS]


def stamps_of(feed: pd.DataFrame, series: str) -> pd.DatetimeIndex:
    known = feed[(feed["unique_id"] == series) & feed["y"].notna()]
    return pd.DatetimeIndex(known["ds"].unique()).sort_values()


def test_the_demo_is_the_same_every_time(feed: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(demo.generate(SIZE), feed)


@pytest.mark.parametrize("as_of", ["2025-01-20T05:00", "2025-02-14T23:00", "2025-03-20T12:00"])
def test_an_earlier_day_saw_the_same_values(feed: pd.DataFrame, as_of: str) -> None:
    then, now = keyed(demo.generate(SIZE, as_of, 0)), keyed(feed)
    past = now[now.index.get_level_values("ds") <= pd.Timestamp(as_of)]
    pd.testing.assert_frame_equal(then, past, check_like=True)


def test_a_later_day_changes_nothing_of_the_past(feed: pd.DataFrame) -> None:
    later = demo.generate(SIZE, "2025-05-01T00:00", 0)
    now = keyed(feed[feed["ds"] <= demo.end(SIZE)])
    before = later[later["ds"] <= demo.end(SIZE)]
    pd.testing.assert_frame_equal(keyed(before), now, check_like=True)


@settings(max_examples=15, deadline=None)
@given(hours=st.integers(23, 700), further=st.integers(0, 200), horizon=st.integers(0, 60))
def test_any_two_days_agree_on_the_stamps_they_share(
    hours: int, further: int, horizon: int
) -> None:
    small = Demo(n_series=14, n_days=30)
    a, b = (str(demo.START + pd.Timedelta(hours=h)) for h in (hours, hours + further))
    first, second = keyed(demo.generate(small, a, horizon)), keyed(demo.generate(small, b, horizon))
    known = first[first["y"].notna()]
    pd.testing.assert_frame_equal(second.loc[known.index], known)
    shared = first.index.intersection(second.index)
    ahead = ["temperature", "promotion", "holiday"]
    pd.testing.assert_frame_equal(first.loc[shared, ahead], second.loc[shared, ahead])


def test_the_demo_ends_where_it_says(feed: pd.DataFrame) -> None:
    known = feed[feed["y"].notna()]
    assert known["ds"].min() == pd.Timestamp("2025-01-01 00:00")
    assert known["ds"].max() == demo.end(SIZE) == pd.Timestamp("2025-03-21 23:00")
    assert feed["unique_id"].nunique() == 100


def test_covariates_are_known_a_week_ahead_and_values_are_not(feed: pd.DataFrame) -> None:
    ahead = feed[feed["ds"] > demo.end(SIZE)]
    assert ahead["ds"].nunique() == demo.AHEAD
    assert ahead["y"].isna().all()
    assert ahead[["temperature", "promotion", "holiday"]].notna().all(axis=None)


def test_there_are_exact_duplicates_and_no_conflicting_ones(feed: pd.DataFrame) -> None:
    content = ["unique_id", "ds", *COLUMNS]
    assert feed.duplicated(content).sum() > 0
    assert feed.duplicated(content).sum() == feed.duplicated(["unique_id", "ds"]).sum()


def test_there_are_gaps_of_hours(feed: pd.DataFrame) -> None:
    stamps = stamps_of(feed, "site_005")
    assert np.diff(stamps).max() > pd.Timedelta(hours=4)


def test_there_are_single_missing_hours_in_ordinary_series(feed: pd.DataFrame) -> None:
    ordinary = [f"site_{i:03d}" for i in (0, 1, 2, 3)]
    present = sum(len(stamps_of(feed, s)) for s in ordinary)
    assert 0.99 < present / (4 * 80 * 24) < 1


def test_there_are_intermittent_series_of_small_counts(feed: pd.DataFrame) -> None:
    sparse = feed.loc[(feed["kind"] == "sparse") & feed["y"].notna(), "y"]
    assert (sparse == 0).mean() > 0.5
    assert (sparse > 0).any()
    assert (sparse == sparse.round()).all()


def test_there_is_a_series_that_begins_late(feed: pd.DataFrame) -> None:
    assert stamps_of(feed, "site_007").min() > demo.START + pd.Timedelta(days=30)


def test_there_is_a_series_that_dies(feed: pd.DataFrame) -> None:
    assert stamps_of(feed, "site_010").max() < demo.end(SIZE) - pd.Timedelta(days=5)
    assert feed.loc[feed["unique_id"] == "site_010", "ds"].max() <= demo.end(SIZE)


def test_statics_do_not_vary_and_all_kinds_occur(feed: pd.DataFrame) -> None:
    for name, known in (("region", demo.REGIONS), ("kind", demo.KINDS)):
        assert (feed.groupby("unique_id")[name].nunique() == 1).all()
        assert set(feed[name]) == set(known)


def test_promotions_raise_demand_and_holidays_close_offices(feed: pd.DataFrame) -> None:
    shops = feed[feed["kind"] == "shop"].groupby(["unique_id", "promotion"])["y"].mean().unstack()
    assert (shops[1.0] / shops[0.0]).median() > 1.3
    office = feed[(feed["kind"] == "office") & (feed["ds"].dt.dayofweek < 5)]
    days = office.groupby(["unique_id", "holiday"])["y"].mean().unstack()
    assert (days[1.0] / days[0.0]).median() < 0.6


def test_demand_is_never_negative(feed: pd.DataFrame) -> None:
    assert (feed["y"].dropna() >= 0).all()


def test_the_demo_passes_its_own_contract(ingested: Ingested, recipe: Feed) -> None:
    report = ingested(recipe).report
    assert report["rows_in"] == report["accepted"] + report["repaired"]
    assert set(report["repairs"]) == {"EXACT-DUPLICATE"}
    assert report["missing_rows"] > 0
    assert report["series"] == 100


def test_the_demo_makes_a_panel_with_windows(recipe: Feed) -> None:
    checked = ingest.check_feed(recipe)
    built = build_panel(checked.observations, checked.static, recipe)
    assert built.n_series == 100
    assert [c.name for c in built.meta.channels] == ["y", "temperature", "promotion", "holiday"]
    assert [c.categories for c in built.meta.static] == [
        sorted(demo.REGIONS),
        sorted(demo.KINDS),
    ]


def test_a_series_that_has_not_begun_is_set_aside_until_it_has(recipe: Feed) -> None:
    early = ingest.check_feed(recipe, "2025-01-20T23:00")
    assert early.report["quarantine"] == {"SERIES-EMPTY": demo.AHEAD * 3}  # sites 7, 40 and 73
    assert "site_007" not in set(early.observations["unique_id"])


def test_a_day_before_the_demo_is_refused() -> None:
    with pytest.raises(IngestError, match="2024-12-31") as caught:
        demo.generate(SIZE, "2024-12-31T23:00")
    assert caught.value.code == "AS-OF"


def test_an_as_of_that_is_no_time_is_refused_by_the_demo_too() -> None:
    with pytest.raises(GatecastError) as caught:
        demo.generate(SIZE, "soon")
    assert caught.value.code == "AS-OF"


def test_an_as_of_with_an_offset_is_understood_by_the_demo_too() -> None:
    small = Demo(n_series=2, n_days=20)
    pd.testing.assert_frame_equal(
        demo.generate(small, "2025-01-10T12:00+00:00", 0),
        demo.generate(small, "2025-01-10T12:00", 0),
    )
