"""A scoring run: every series once, from the promoted version, published whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import IngestError, ScoringError
from gatecast.core.ledger import Ledger
from gatecast.data.config import Covariates, Feed, RawFile, Splits, Task
from gatecast.registry import aliases, gate
from gatecast.reports import scoring as report
from gatecast.scoring import read_forecasts, store
from gatecast.scoring.run import score


def test_every_series_is_forecast_from_its_own_last_value(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    frame = pd.read_csv("sales.csv")
    ended = (frame["unique_id"] == "s2") & (frame["ds"] > "2024-05-01")
    frame[~ended].to_csv("sales.csv", index=False)
    score(daily_feed)
    table = read_forecasts("sales")
    assert table.groupby("unique_id").size().to_dict() == {f"s{i}": 7 for i in range(4)}
    cutoff = table.groupby("unique_id")["cutoff"].first()
    assert cutoff["s0"] == pd.Timestamp("2024-05-19")
    assert cutoff["s2"] == pd.Timestamp("2024-05-01")
    assert (table["ds"] == table["cutoff"] + pd.to_timedelta(table["step"], unit="D")).all()


def test_the_same_feed_scored_twice_is_one_run(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    first, second = score(daily_feed), score(daily_feed)
    assert first.fresh
    assert not second.fresh
    assert first.where == second.where
    assert len(store.runs("sales")) == 1
    assert len(Ledger().entries("scoring", "sales")) == 1


def test_after_a_rollback_the_forecasts_that_count_are_again_those_of_the_champion(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    first = promote(daily_feed)
    score(daily_feed)
    score(daily_feed, champion=replace(first, version=2))  # promoted, and scored the same feed
    assert set(read_forecasts("sales")["model_version"]) == {2}
    back = {"verdict": gate.ROLLBACK, "champion": 1, "champion_before": 2}
    Ledger().append(aliases.KIND, first.model, back)
    again = score(daily_feed)
    assert again.fresh
    assert again.manifest["revision"] == 3
    assert set(read_forecasts("sales")["model_version"]) == {1}
    assert not score(daily_feed).fresh


def test_a_run_whose_ledger_row_was_lost_gets_it_from_the_next(
    project: Path, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    score(daily_feed, "2024-05-10")
    first = score(daily_feed).manifest
    Path("ledger.db").unlink()
    score(daily_feed)
    (row,) = Ledger().entries("scoring", "sales")
    assert row.facts["run_key"] == first["run_key"]
    score(daily_feed, "2024-05-12")  # a run of another key finds the one before, too
    assert len(Ledger().entries("scoring", "sales")) == 3


def test_series_that_lack_known_covariates_are_counted(
    project: Path, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    frame = pd.read_csv("sales.csv", parse_dates=["ds"])
    ahead = frame.groupby("unique_id").tail(7).assign(y=np.nan)
    ahead["ds"] += pd.Timedelta(days=7)
    known = pd.concat([frame, ahead]).assign(promo=1.0)
    known.loc[(known["unique_id"] == "s1") & (known["ds"] == "2024-05-22"), "promo"] = np.nan
    known[~((known["unique_id"] == "s3") & (known["ds"] > "2024-05-24"))].to_csv(
        "sales.csv", index=False
    )
    feed = daily_feed.model_copy(update={"covariates": Covariates(future=["promo"])})
    promote(feed)
    assert score(feed).manifest["without_known_covariates"] == 2


def test_a_corrected_feed_is_a_run_of_its_own(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    first = score(daily_feed)
    frame = pd.read_csv("sales.csv")
    frame.loc[frame.index[-1], "y"] += 5
    frame.to_csv("sales.csv", index=False)
    second = score(daily_feed)
    assert second.fresh
    assert second.where != first.where
    assert len(store.runs("sales")) == 2
    assert set(read_forecasts("sales")["run_key"]) == {second.manifest["run_key"]}
    assert (first.manifest["revision"], second.manifest["revision"]) == (1, 2)


def test_the_version_is_pinned_by_number_and_digest(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    champion = promote(daily_feed)
    score(daily_feed)
    table = read_forecasts("sales")
    assert set(table["model_version"]) == {champion.version}
    assert set(table["model_digest"]) == {champion.digest}
    assert set(table["model_name"]) == {"gatecast-sales"}


def test_as_of_scores_the_feed_as_it_was(daily_feed: Feed, promote: Callable[[Feed], Any]) -> None:
    promote(daily_feed)
    score(daily_feed, "2024-05-10")
    assert set(read_forecasts("sales")["cutoff"]) == {pd.Timestamp("2024-05-10")}


def test_a_bad_feed_publishes_nothing(daily_feed: Feed, promote: Callable[[Feed], Any]) -> None:
    promote(daily_feed)
    text = Path("sales.csv").read_text().replace("2024-03-03,", "2024-03-03,oops", 1)
    Path("sales.csv").write_text(text)
    with pytest.raises(IngestError) as caught:
        score(daily_feed)
    assert caught.value.code == "Y-TEXT"
    assert not Path("forecasts").exists()
    with pytest.raises(ScoringError) as nothing:
        read_forecasts("sales")
    assert nothing.value.code == "NO-FORECASTS"


def test_without_a_champion_nothing_is_scored(daily_feed: Feed) -> None:
    with pytest.raises(ScoringError) as caught:
        score(daily_feed)
    assert caught.value.code == "NO-CHAMPION"


def test_a_new_series_is_scored_too(daily_feed: Feed, promote: Callable[[Feed], Any]) -> None:
    promote(daily_feed)
    frame = pd.read_csv("sales.csv")
    new = pd.DataFrame(
        {"unique_id": "newcomer", "ds": ["2024-05-18", "2024-05-19"], "y": [3.0, 4.0]}
    )
    pd.concat([frame, new]).to_csv("sales.csv", index=False)
    score(daily_feed)
    table = read_forecasts("sales")
    assert np.isfinite(table.loc[table["unique_id"] == "newcomer", "gatecast"]).all()


def test_local_time_goes_in_and_local_time_comes_out(
    project: Path, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    stamps = pd.date_range("2024-03-01", "2024-04-20", freq="h", tz="Europe/Berlin")
    y = (
        10
        + 5 * np.sin(2 * np.pi * stamps.hour / 24)
        + np.random.default_rng(0).normal(0, 1, len(stamps))
    )
    local = stamps.tz_localize(None)
    pd.DataFrame({"unique_id": "a", "ds": local, "y": y}).to_csv("berlin.csv", index=False)
    changes: dict[str, Any] = {
        "name": "berlin",
        "files": [RawFile(path="berlin.csv")],
        "frequency": "h",
        "timezone": "Europe/Berlin",
        "task": Task(
            horizon=24, season_length=24, splits=Splits(by="time", validation=120, test=120)
        ),
    }
    feed = daily_feed.model_copy(update=changes)
    promote(feed)
    score(feed)
    table = read_forecasts("berlin")
    assert str(table["ds"].dt.tz) == "Europe/Berlin"
    assert table["cutoff"].iloc[0] == stamps[-1]
    assert table["ds"].iloc[0] == stamps[-1] + pd.Timedelta(hours=1)


def test_the_summary_says_what_was_scored_by_what_and_where(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    first = score(daily_feed)
    said = report.text(first)
    for part in ("4 series x 7 steps from 2024-05-19", "gatecast-sales v1 (linear)", "0 fallbacks"):
        assert part in said
    assert first.where in said
    assert Path(first.where).is_dir()
    again = report.text(score(daily_feed), horizon=14)
    assert f"has scored this feed already, at {first.manifest['scored_at'][:19]} UTC" in again
    assert "horizon=14 needs a training of its own" in again
