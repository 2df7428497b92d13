"""The five published files, read through the project's own recipes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from gatecast.data import contract, ingest, sources, windows
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, FileFeed
from gatecast.data.sources import read_feed

DATA = os.environ.get("GATECAST_DATA_DIR")
RECIPES = Path(__file__).resolve().parents[2] / "conf/source"

pytestmark = pytest.mark.skipif(not DATA, reason="GATECAST_DATA_DIR names no folder of real files")


@pytest.fixture(scope="module")
def recipe() -> Callable[[str], Feed]:
    def load(name: str) -> Feed:
        content = OmegaConf.to_container(OmegaConf.load(RECIPES / f"{name}.yaml"))
        assert isinstance(content, dict)
        feed = read_feed({str(k): v for k, v in content.items()} | {"name": name}, name)
        assert isinstance(feed, FileFeed)
        files = [f.model_copy(update={"path": str(Path(str(DATA), f.path))}) for f in feed.files]
        actuals = feed.actuals
        if actuals is not None:
            actuals = actuals.model_copy(update={"path": str(Path(str(DATA), actuals.path))})
        return feed.model_copy(update={"name": name, "files": files, "actuals": actuals})

    return load


@pytest.fixture(scope="module")
def checked(recipe: Callable[[str], Feed]) -> Callable[[str], contract.Checked]:
    done: dict[str, contract.Checked] = {}

    def run(name: str) -> contract.Checked:
        if name not in done:
            feed = recipe(name)
            done[name] = ingest.check_feed(feed)
        return done[name]

    return run


Check = Callable[[str], contract.Checked]
Recipe = Callable[[str], Feed]


@pytest.mark.parametrize("name", ["m4_hourly", "etth1", "bike_sharing", "beijing_pm25"])
def test_no_row_is_repaired_or_set_aside(checked: Check, name: str) -> None:
    report = checked(name).report
    assert (report["repaired"], report["quarantined"]) == (0, 0)


def test_m4_has_169_series_of_700_and_245_of_960(checked: Check) -> None:
    lengths = checked("m4_hourly").observations.groupby("unique_id").size()
    assert lengths.value_counts().to_dict() == {960: 245, 700: 169}


def test_m4_starts_in_2000_and_keeps_its_values(checked: Check) -> None:
    got = checked("m4_hourly").observations
    assert set(got.groupby("unique_id")["ds"].min()) == {pd.Timestamp("2000-01-01")}
    assert list(got.loc[got["unique_id"] == "H1", "y"].head(3)) == [605, 586, 586]


def test_m4_answers_are_48_points_a_series(recipe: Recipe) -> None:
    actuals = sources.read_actuals(recipe("m4_hourly"))
    assert actuals is not None
    assert set(actuals.groupby("unique_id").size()) == {48}
    assert actuals["unique_id"].nunique() == 414


def test_etth1_ends_at_row_14400(checked: Check) -> None:
    got = checked("etth1")
    assert set(got.observations.groupby("unique_id").size()) == {14_400}
    assert set(got.observations["unique_id"]) == {
        "HUFL",
        "HULL",
        "MUFL",
        "MULL",
        "LUFL",
        "LULL",
        "OT",
    }
    expected = pd.Timestamp("2016-07-01") + pd.Timedelta(hours=14_399)
    assert got.observations["ds"].max() == expected


@pytest.mark.parametrize(("horizon", "count"), [(96, 2785), (192, 2689), (336, 2545), (720, 2161)])
def test_etth1_has_the_test_windows_of_the_published_protocol(
    checked: Check, recipe: Recipe, horizon: int, count: int
) -> None:
    got = checked("etth1")
    built = build_panel(got.observations, got.static, recipe("etth1"), horizon=horizon)
    found = windows.rolling_origins(built, "test")
    assert np.bincount(found.series).tolist() == [count] * 7


def test_bike_misses_165_hours(checked: Check) -> None:
    report = checked("bike_sharing").report
    assert report["rows_in"] == 17_379
    assert report["missing_rows"] == 165
    assert report["missing_values"] == 0


def test_the_hours_bike_misses_are_masked(checked: Check, recipe: Recipe) -> None:
    got = checked("bike_sharing")
    built = build_panel(got.observations, got.static, recipe("bike_sharing"))
    assert len(built.values) == 2 * 365 * 24 + 24  # 2012 is a leap year
    assert (~built.observed).sum() == 165


def test_pm25_misses_2067_values(checked: Check) -> None:
    report = checked("beijing_pm25").report
    assert report["rows_in"] == 43_824
    assert report["missing_values"] == 2_067
    assert report["missing_rows"] == 0


def test_the_wind_of_pm25_is_a_category(checked: Check, recipe: Recipe) -> None:
    got = checked("beijing_pm25")
    built = build_panel(got.observations, got.static, recipe("beijing_pm25"))
    wind = next(c for c in built.meta.channels if c.name == "cbwd")
    assert wind.categories == ["NE", "NW", "SE", "cv"]


@pytest.mark.parametrize("name", ["m4_hourly", "etth1", "bike_sharing", "beijing_pm25"])
def test_the_fingerprint_holds_the_sha256_of_the_recipe(recipe: Recipe, name: str) -> None:
    feed = recipe(name)
    mark = sources.fingerprint(feed, None)
    assert [f["sha256"] for f in mark["files"]] == [f.sha256 for f in feed.files]
