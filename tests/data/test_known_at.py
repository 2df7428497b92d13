"""When a row became known: what was not known yet is not there, and what became known last counts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from gatecast.data import contract, ingest
from gatecast.data.config import Feed

MakeFeed = Callable[..., Feed]
Ingested = Callable[..., contract.Checked]
Refusal = Callable[..., str]

CORRECTED = """id,ds,y,said
a,2024-01-01T00:00,1,2024-01-01T00:30
a,2024-01-01T01:00,2,2024-01-01T01:30
a,2024-01-01T02:00,3,2024-01-01T05:00
a,2024-01-01T01:00,20,2024-01-01T03:00
a,2024-01-01T01:00,200,2024-01-01T04:00
"""


def values(checked: contract.Checked) -> list[float]:
    return checked.observations["y"].tolist()


@pytest.mark.parametrize(
    ("as_of", "known"),
    [
        ("2024-01-01T01:00", [1]),  # the value of 01:00 came half an hour later
        ("2024-01-01T01:30", [1, 2]),
        ("2024-01-01T02:59", [1, 2]),
        ("2024-01-01T03:00", [1, 20]),  # corrected
        ("2024-01-01T04:59", [1, 200]),  # corrected again; 02:00 is still under way
        ("2024-01-01T05:00", [1, 200, 3]),
        (None, [1, 200, 3]),
    ],
)
def test_a_day_that_is_played_sees_only_what_was_known_then(
    make_feed: MakeFeed, ingested: Ingested, as_of: str | None, known: list[float]
) -> None:
    assert values(ingested(make_feed(CORRECTED, known_at="said"), as_of)) == known


def test_the_row_known_last_counts_wherever_it_stands(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    head, *rows = CORRECTED.splitlines()
    backward = "\n".join([head, *rows[::-1]]) + "\n"
    assert values(ingested(make_feed(backward, known_at="said"))) == [1, 200, 3]


def test_superseded_rows_are_accounted_for(make_feed: MakeFeed, ingested: Ingested) -> None:
    report = ingested(make_feed(CORRECTED, known_at="said")).report
    assert (report["rows_in"], report["accepted"], report["repaired"]) == (5, 3, 2)
    assert "repaired 2 x SUPERSEDED" in ingest.summary(report)


def test_two_rows_known_at_once_are_still_a_clash(
    make_feed: MakeFeed, ingested: Ingested, refusal: Refusal
) -> None:
    text = CORRECTED + "a,2024-01-01T01:00,300,2024-01-01T04:00\n"
    assert "200.0 and 300.0" in refusal(make_feed(text, known_at="said"), "DUP-TIME")
    feed = make_feed(text, known_at="said", duplicates="mean")
    assert values(ingested(feed)) == [1, 250, 3]  # never mixed with what was superseded


def test_a_forecast_of_the_weather_counts_as_it_was_known(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    """The rows of tomorrow's weather are replaced by newer ones; a played day sees the one of its time."""
    text = (
        "id,ds,y,warm,said\n"
        "a,2024-01-01T00:00,1,10,2024-01-01T00:00\n"
        "a,2024-01-01T01:00,,11,2024-01-01T00:00\n"
        "a,2024-01-01T01:00,,15,2024-01-01T00:30\n"
        "a,2024-01-01T01:00,2,16,2024-01-01T01:00\n"
    )
    feed = make_feed(text, known_at="said", cov={"future": ["warm"]})

    def seen(as_of: str) -> list[float]:
        return ingested(feed, as_of).observations["warm"].tolist()

    assert seen("2024-01-01T00:00") == [10, 11]
    assert seen("2024-01-01T00:30") == [10, 15]
    assert seen("2024-01-01T01:00") == [10, 16]


def test_local_times_of_knowing_are_local_to_the_feed(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    feed = make_feed(CORRECTED, known_at="said", timezone="Europe/Berlin")
    assert values(ingested(feed, "2024-01-01T02:29:00+02:00")) == [1]  # 01:29 in Berlin
    assert values(ingested(feed, "2024-01-01T01:30")) == [1, 2]


def test_a_correction_of_the_repeated_hour_is_no_second_hour(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    """02:00 comes twice on that day; each delivery holds both hours."""
    hours = [f"a,2024-10-27T0{h}:00" for h in (1, 2, 2, 3)]
    rows = [f"{hour},{k},2024-10-28T06:00" for k, hour in enumerate(hours)]
    rows += [f"{hour},{10 + k},2024-10-28T09:00" for k, hour in enumerate(hours)]
    text = "id,ds,y,said\n" + "\n".join(rows) + "\n"
    checked = ingested(make_feed(text, known_at="said", timezone="Europe/Berlin"))
    assert values(checked) == [10, 11, 12, 13]
    assert len(checked.observations) == 4


def test_a_repeated_or_skipped_hour_of_knowing_is_a_time_too(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id,ds,y,said\na,2024-10-26T12:00,1,2024-10-27T02:30\na,2024-10-26T13:00,2,2024-03-31T02:30\n"
    feed = make_feed(text, known_at="said", timezone="Europe/Berlin")
    assert values(ingested(feed, "2024-10-27T02:29:00+02:00")) == [2]
    assert values(ingested(feed, "2024-10-27T02:30:00+02:00")) == [1, 2]


def test_times_of_knowing_may_be_stamps_of_a_parquet_file(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    stamps = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 00:00", "2024-01-01 01:00"])
    said = stamps.tz_localize("UTC") + pd.to_timedelta([0, 5, 1], unit="h")
    frame = pd.DataFrame({"id": "a", "ds": stamps, "y": [1.0, 2.0, 3.0], "said": said})
    feed = make_feed(frame, file="feed.parquet", known_at="said")
    assert values(ingested(feed, "2024-01-01T04:00")) == [1, 3]
    assert values(ingested(feed)) == [2, 3]


@pytest.mark.parametrize("said", ["", "soon"])
def test_a_row_that_does_not_say_when_it_became_known_is_a_bad_row(
    make_feed: MakeFeed, ingested: Ingested, refusal: Refusal, said: str
) -> None:
    text = CORRECTED + f"a,2024-01-01T03:00,4,{said}\n"
    assert "feed.csv line 7" in refusal(make_feed(text, known_at="said"), "KNOWN-AT")
    checked = ingested(make_feed(text, known_at="said", bad_rows="quarantine"))
    assert checked.report["quarantine"] == {"KNOWN-AT": 1}


def test_a_feed_without_the_column_names_it(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "Did you mean 'said'" in refusal(make_feed(CORRECTED, known_at="sayd"), "COLUMN-MISSING")


def test_a_time_before_anything_was_known_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "before the feed begins" in refusal(
        make_feed(CORRECTED, known_at="said"), "AS-OF", "2024-01-01T00:29"
    )
