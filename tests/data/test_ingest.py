"""Observations on disk: whole, complete, replaced at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gatecast.core.errors import IngestError
from gatecast.data import contract, ingest
from gatecast.data.config import Feed

MakeFeed = Callable[..., Feed]
Ingested = Callable[..., contract.Checked]
LongCsv = Callable[..., str]
OBSERVATIONS = Path("data/observations")


def test_ingest_leaves_observations_statics_quarantine_and_a_report(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    ingested(make_feed(long_csv({"a": [1, 2]})))
    assert sorted(p.name for p in OBSERVATIONS.iterdir()) == [
        "ingest_report.json",
        "observations.parquet",
        "quarantine.parquet",
        "static.parquet",
    ]


def test_load_gives_back_what_was_checked(make_feed: MakeFeed, ingested: Ingested) -> None:
    text = "id,ds,y,size,kind\n007,2024-01-01T00:00,1,3,é\n007,2024-01-01T01:00,,3,é\n"
    text += '"two\nlines",2024-01-01T00:00,5,,\n'
    checked = ingested(make_feed(text, cov={"static": ["size", "kind"], "categorical": ["kind"]}))
    observations, static = ingest.load(OBSERVATIONS, "shop")
    pd.testing.assert_frame_equal(observations, checked.observations)
    pd.testing.assert_frame_equal(static, checked.static)
    assert list(static["unique_id"]) == ["007", "two\nlines"]


def test_the_report_is_plain_json_with_the_sum_that_must_hold(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1, None, 3], "ghost": [None]}) + "a,2024-01-01 00:00:00,1\na,never,2\n"
    ingested(make_feed(text, bad_rows="quarantine"))
    report = json.loads((OBSERVATIONS / "ingest_report.json").read_text(encoding="utf-8"))
    assert report["rows_in"] == 6
    assert report["accepted"] == 3
    assert report["repairs"] == {"EXACT-DUPLICATE": 1}
    assert report["quarantine"] == {"TIME-PARSE": 1, "SERIES-EMPTY": 1}
    assert report["series"] == 1
    assert report["values"] == 2
    assert report["missing_values"] == 1


def test_check_feed_writes_nothing(make_feed: MakeFeed, long_csv: LongCsv) -> None:
    ingest.check_feed(make_feed(long_csv({"a": [1, 2]})))
    assert not Path("data").exists()


def test_a_second_ingest_replaces_the_first_and_leaves_nothing_else(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    ingested(make_feed(long_csv({"a": [1, 2], "b": [3]})))
    ingested(make_feed(long_csv({"c": [4]})))
    assert list(ingest.load(OBSERVATIONS, "shop")[0]["unique_id"]) == ["c"]
    assert [p.name for p in Path("data").iterdir()] == ["observations"]


def test_the_same_feed_gives_the_same_bytes(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    feed = make_feed(long_csv({"a": [1, 2], "b": [3, None]}))
    ingested(feed)
    before = {p.name: p.read_bytes() for p in OBSERVATIONS.iterdir()}
    ingested(feed)
    assert {p.name: p.read_bytes() for p in OBSERVATIONS.iterdir()} == before


def test_the_order_of_the_rows_in_the_feed_does_not_matter(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    head, *rows = long_csv({"a": [1, 2, 3], "b": [4, 5]}).splitlines()
    forward = ingested(make_feed("\n".join([head, *rows]) + "\n")).observations
    backward = ingested(make_feed("\n".join([head, *rows[::-1]]) + "\n")).observations
    pd.testing.assert_frame_equal(forward, backward)


@pytest.mark.parametrize(
    "part",
    [
        "7 rows in = 4 accepted + 1 repaired + 2 quarantined",
        "1 series, 3 values from 2024-01-01 00:00:00 to 2024-01-01 04:00:00, every h",
        "1 rows are missing inside the series and 1 values are empty",
        "repaired 1 x EXACT-DUPLICATE",
        "quarantined 2 x TIME-PARSE",
    ],
)
def test_the_summary_says_what_came_in_and_what_went_where(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv, part: str
) -> None:
    text = long_csv({"a": [1, 2, None]}) + "a,2024-01-01 04:00:00,3\na,2024-01-01 04:00:00,3\n"
    text += "a,never,1\na,nowhere,1\n"
    checked = ingested(make_feed(text, bad_rows="quarantine"))
    assert part in ingest.summary(checked.report)


def test_observations_of_another_source_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ingest_report.json").write_text('{"source": "demo"}')
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(IngestError) as caught:
            ingest.load(folder, "sales")
        assert caught.value.code == "OBSERVATIONS"
