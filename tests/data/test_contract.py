"""What a row must be, what is repaired, what is set aside, and what stops the ingest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatecast.core.errors import GatecastError, IngestError
from gatecast.data import contract
from gatecast.data.config import Feed

MakeFeed = Callable[..., Feed]
Ingested = Callable[..., contract.Checked]
Refusal = Callable[..., str]
LongCsv = Callable[..., str]

HEAD = "id,ds,y\n"
HOUR = "2024-01-01T{:02d}:00"


# --- accepted -----------------------------------------------------------------------------------------


def test_observations_are_sorted_typed_and_unique(make_feed: MakeFeed, ingested: Ingested) -> None:
    text = HEAD + "b,2024-01-01T01:00,4\na,2024-01-01T01:00,2\nb,2024-01-01T00:00,3\n"
    text += "a,2024-01-01T00:00,1\na,2024-01-01T00:00,1\n"
    got = ingested(make_feed(text)).observations
    assert list(got["unique_id"]) == ["a", "a", "b", "b"]
    assert list(got["y"]) == [1, 2, 3, 4]
    assert str(got["ds"].dtype) == "datetime64[us]"
    assert str(got["y"].dtype) == "float64"


def test_an_empty_value_is_no_error_and_stays_missing(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    checked = ingested(make_feed(long_csv({"a": [1, None, 3]})))
    assert np.array_equal(checked.observations["y"], [1, np.nan, 3], equal_nan=True)
    assert checked.report["missing_values"] == 1


def test_a_gap_is_counted_not_filled(make_feed: MakeFeed, ingested: Ingested) -> None:
    text = HEAD + "a,2024-01-01T00:00,1\na,2024-01-01T05:00,2\n"
    checked = ingested(make_feed(text))
    assert len(checked.observations) == 2
    assert checked.report["missing_rows"] == 4


@pytest.mark.parametrize(
    "name", ["007", "NA", "null", "1e5", "🚲 Köln", "two\nlines", 'quo"te', "a,b", "../up", " x "]
)
def test_an_id_is_text_and_kept_as_it_is(
    make_feed: MakeFeed, ingested: Ingested, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    feed = make_feed(f"{HEAD}{quoted},2024-01-01T00:00,1\nplain,2024-01-01T00:00,2\n")
    ingested(feed)
    stored = pd.read_parquet("data/observations/observations.parquet")
    assert set(stored["unique_id"]) == {name, "plain"}


@pytest.mark.parametrize("value", ["", "NA", "N/A", "NaN", "null", "None"])
def test_the_usual_spellings_of_nothing_are_missing_values(
    make_feed: MakeFeed, ingested: Ingested, value: str
) -> None:
    text = f"{HEAD}a,2024-01-01T00:00,1\na,2024-01-01T01:00,{value}\n"
    assert ingested(make_feed(text)).report["values"] == 1


def test_stamps_with_one_utc_offset_are_stored_as_utc(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = HEAD + "a,2024-07-01T00:00:00+02:00,1\na,2024-07-01T01:00:00+02:00,2\n"
    got = ingested(make_feed(text)).observations
    assert list(got["ds"]) == [pd.Timestamp("2024-06-30 22:00"), pd.Timestamp("2024-06-30 23:00")]


def test_stamps_whose_utc_offsets_change_with_the_clock_are_stored_as_utc(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = HEAD + "a,2024-03-31T01:00:00+01:00,1\na,2024-03-31T03:00:00+02:00,2\n"
    got = ingested(make_feed(text)).observations
    assert list(got["ds"]) == [pd.Timestamp("2024-03-31 00:00"), pd.Timestamp("2024-03-31 01:00")]


def test_stamps_with_and_without_an_offset_in_one_feed_are_refused_or_set_aside(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = HEAD + "a,2024-03-31T01:00:00,1\na,2024-03-31T02:00:00+02:00,2\n"
    assert "feed.csv line" in refusal(make_feed(text), "TIME-PARSE")


def test_stamps_that_carry_an_offset_are_not_shifted_again_by_timezone(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = HEAD + "a,2024-07-01T00:00:00+02:00,1\na,2024-07-01T01:00:00+02:00,2\n"
    got = ingested(make_feed(text, timezone="Europe/Berlin")).observations
    assert got["ds"].iloc[0] == pd.Timestamp("2024-06-30 22:00")


# --- repaired -----------------------------------------------------------------------------------------


def test_an_exact_duplicate_is_repaired_without_being_asked(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    row = "a,2024-01-01T00:00,1\n"
    checked = ingested(make_feed(HEAD + row + row + row))
    assert checked.report["repairs"] == {"EXACT-DUPLICATE": 2}
    assert len(checked.observations) == 1


CONFLICT = HEAD + "north,2024-01-01T00:00,1\nnorth,2024-01-01T01:00,41\nnorth,2024-01-01T01:00,38\n"


@pytest.mark.parametrize(("rule", "value"), [("mean", 39.5), ("first", 41), ("last", 38)])
def test_conflicting_values_follow_the_recipe(
    make_feed: MakeFeed, ingested: Ingested, rule: str, value: float
) -> None:
    checked = ingested(make_feed(CONFLICT, duplicates=rule))
    assert list(checked.observations["y"]) == [1, value]
    assert checked.report["repaired"] == 1


def test_conflicting_values_are_refused_with_both_lines_and_both_values(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    message = refusal(make_feed(CONFLICT), "DUP-TIME")
    assert "feed.csv line 4" in message
    assert "line 3" in message
    assert "'north'" in message
    assert "41.0 and 38.0" in message
    assert "2024-01-01 01:00" in message
    assert "duplicates: mean|first|last" in message


def test_rows_that_differ_in_a_covariate_only_are_refused_as_such(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y,temp\na,2024-01-01T00:00,1,5\na,2024-01-01T00:00,1,6\n"
    assert "covariates differ" in refusal(make_feed(text, cov={"past": ["temp"]}), "DUP-TIME")


def test_rows_known_ahead_that_differ_in_a_covariate_are_refused_as_such(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y,temp\na,2024-01-01T00:00,1,5\na,2024-01-01T01:00,,6\na,2024-01-01T01:00,,7\n"
    assert "covariates differ" in refusal(make_feed(text, cov={"future": ["temp"]}), "DUP-TIME")


@pytest.mark.parametrize("rule", ["first", "last"])
def test_a_value_stated_first_and_last_is_the_first_and_the_last(
    make_feed: MakeFeed, ingested: Ingested, rule: str
) -> None:
    text = HEAD + "".join(f"a,2024-01-01T00:00,{v}\n" for v in (1, 2, 1))
    assert list(ingested(make_feed(text, duplicates=rule)).observations["y"]) == [1]


# --- refused or set aside: one test a code ------------------------------------------------------------

BAD_ROWS = {
    "Y-TEXT": "north,2024-01-01T02:00,many\n",
    "Y-INFINITE": "north,2024-01-01T02:00,1e400\n",
    "TIME-PARSE": "north,yesterday,1\n",
    "TIME-GRID": "north,2024-01-01T02:17,1\n",
    "ID-MISSING": ",2024-01-01T02:00,1\n",
}
GOOD = HEAD + "north,2024-01-01T00:00,1\nnorth,2024-01-01T01:00,2\n"
AFTER = "north,2024-01-01T03:00,4\n"


@pytest.mark.parametrize("code", BAD_ROWS)
def test_a_bad_row_is_refused_with_its_file_and_line(
    make_feed: MakeFeed, refusal: Refusal, code: str
) -> None:
    message = refusal(make_feed(GOOD + BAD_ROWS[code] + AFTER), code)
    assert "feed.csv line 4" in message
    assert "bad_rows: quarantine" in message


@pytest.mark.parametrize("code", ["Y-TEXT", "Y-INFINITE", "TIME-GRID"])
def test_the_refusal_of_a_bad_row_names_its_series(
    make_feed: MakeFeed, refusal: Refusal, code: str
) -> None:
    assert "'north'" in refusal(make_feed(GOOD + BAD_ROWS[code] + AFTER), code)


@pytest.mark.parametrize("code", BAD_ROWS)
def test_a_bad_row_is_set_aside_if_the_recipe_says_so(
    make_feed: MakeFeed, ingested: Ingested, code: str
) -> None:
    checked = ingested(make_feed(GOOD + BAD_ROWS[code] + AFTER, bad_rows="quarantine"))
    aside = pd.read_parquet("data/observations/quarantine.parquet")
    assert list(aside["code"]) == [code]
    assert list(aside["line"]) == [4]
    assert list(aside["file"]) == ["feed.csv"]
    assert list(checked.observations["y"]) == [1, 2, 4]


def test_the_refusal_counts_the_rows_of_the_same_fault(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = GOOD + BAD_ROWS["Y-TEXT"] + "north,2024-01-01T03:00,few\n"
    assert "2 such rows" in refusal(make_feed(text), "Y-TEXT")


def test_a_quarantined_row_keeps_what_the_feed_said(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    ingested(make_feed(GOOD + BAD_ROWS["Y-TEXT"], bad_rows="quarantine"))
    assert list(pd.read_parquet("data/observations/quarantine.parquet")["y"]) == ["many"]


def test_every_quarantined_row_has_a_reason_of_its_own(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    rows = [f"north,x{k},1\n" for k in range(1200)]
    ingested(make_feed(GOOD + "".join(rows), bad_rows="quarantine"))
    aside = pd.read_parquet("data/observations/quarantine.parquet")
    assert "'x1100'" in aside.loc[aside["ds"] == "x1100", "reason"].item()


def test_rows_with_different_faults_are_set_aside_together(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id,ds,y,temp\na,2024-01-01T00:00,1,5\na,never,1,6.5\na,2024-01-01T01:00,1,hot\n"
    checked = ingested(make_feed(text, cov={"past": ["temp"]}, bad_rows="quarantine"))
    assert checked.report["quarantine"] == {"TIME-PARSE": 1, "COV-TEXT": 1}


def test_text_in_a_covariate_is_refused_with_its_column(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y,temp\na,2024-01-01T00:00,1,5\na,2024-01-01T01:00,1,hot\n"
    message = refusal(make_feed(text, cov={"past": ["temp"]}), "COV-TEXT")
    assert "feed.csv line 3" in message
    assert "'hot'" in message
    assert "'temp'" in message
    assert "covariates.categorical" in message


def test_a_decimal_comma_is_refused_with_the_key_that_declares_it(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    message = refusal(make_feed("id;ds;y\na;2024-01-01T00:00;3,5\n", separator=";"), "Y-TEXT")
    assert "'3,5'" in message
    assert "decimal:" in message


def test_one_text_among_decimal_commas_does_not_set_the_others_aside(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id;ds;y\na;2024-01-01T00:00;1,5\na;2024-01-01T01:00;oops\na;2024-01-01T02:00;2,5\n"
    checked = ingested(make_feed(text, separator=";", decimal=",", bad_rows="quarantine"))
    assert list(checked.observations["y"]) == [1.5, 2.5]


def test_one_text_among_decimal_commas_is_the_one_that_is_named(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id;ds;y\na;2024-01-01T00:00;1,5\na;2024-01-01T01:00;oops\n"
    assert "'oops'" in refusal(make_feed(text, separator=";", decimal=","), "Y-TEXT")


@pytest.mark.parametrize("value", ["1e39", "-1e39", "inf", "1e400"])
def test_a_value_larger_than_float32_is_refused(
    make_feed: MakeFeed, refusal: Refusal, value: str
) -> None:
    refusal(make_feed(f"{GOOD}north,2024-01-01T02:00,{value}\n"), "Y-INFINITE")


def test_a_stray_stamp_before_the_others_does_not_set_the_others_aside(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1, 2, 3, 4, 5]}) + "a,2023-12-31T23:17,9\n"
    checked = ingested(make_feed(text, bad_rows="quarantine"))
    assert list(checked.observations["y"]) == [1, 2, 3, 4, 5]


def test_off_grid_stamps_are_refused_with_the_frequency_they_look_like(
    make_feed: MakeFeed, refusal: Refusal, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1, 2, 3, 4, 5]}, freq="30min")
    message = refusal(make_feed(text), "TIME-GRID")
    assert "feed.csv line 3" in message
    assert "`frequency: 30min`" in message


def test_a_stamp_in_another_form_than_declared_is_refused_with_the_form(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = HEAD + "a,31.01.2024 10:00,1\na,2024-02-01 10:00,1\n"
    message = refusal(make_feed(text, time_format="%d.%m.%Y %H:%M"), "TIME-PARSE")
    assert "feed.csv line 3" in message
    assert "'2024-02-01 10:00'" in message
    assert "%d.%m.%Y %H:%M" in message


def test_a_time_format_that_is_none_is_refused(make_feed: MakeFeed, ingested: Ingested) -> None:
    with pytest.raises(GatecastError, match="time_format"):
        ingested(make_feed(GOOD, time_format="%Q"))


def test_a_wrong_century_that_explodes_the_axis_is_refused(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = GOOD + "north,9999-01-01T00:00,1\n"
    assert "9999-01-01" in refusal(make_feed(text), "TIME-SPAN")


def test_an_undeclared_frequency_is_refused_with_a_guess(
    make_feed: MakeFeed, refusal: Refusal, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1, 2, 3, 4]}, freq="15min")
    message = refusal(make_feed(text, frequency=None), "FREQ-UNDECLARED")
    assert "`frequency: 15min`" in message


@pytest.mark.parametrize("frequency", ["hourly", "M", "-1h", "0h"])
def test_an_unknown_frequency_is_refused(
    make_feed: MakeFeed, refusal: Refusal, frequency: str
) -> None:
    assert f"`frequency: {frequency}`" in refusal(
        make_feed(GOOD, frequency=frequency), "FREQ-UNKNOWN"
    )


def test_a_static_column_that_varies_is_refused_with_both_values(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y,region\nnorth,2024-01-01T00:00,1,DE\nnorth,2024-01-01T01:00,2,FR\n"
    message = refusal(make_feed(text, cov={"static": ["region"]}), "STATIC-VARIES")
    assert "'region'" in message
    assert "'north'" in message
    assert "'DE'" in message
    assert "'FR'" in message


def test_a_static_column_may_be_empty_on_some_rows(make_feed: MakeFeed, ingested: Ingested) -> None:
    text = "id,ds,y,region\na,2024-01-01T00:00,1,\na,2024-01-01T01:00,2,FR\n"
    assert list(ingested(make_feed(text, cov={"static": ["region"]})).static["region"]) == ["FR"]


def test_a_series_without_any_value_is_set_aside_in_any_case(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    checked = ingested(make_feed(long_csv({"a": [1, 2], "ghost": [None, None]})))
    assert checked.report["quarantine"] == {"SERIES-EMPTY": 2}
    assert set(checked.observations["unique_id"]) == {"a"}
    assert list(checked.static["unique_id"]) == ["a"]


def test_a_feed_without_any_value_is_refused(
    make_feed: MakeFeed, refusal: Refusal, long_csv: LongCsv
) -> None:
    assert "'shop'" in refusal(make_feed(long_csv({"a": [None, None]})), "EMPTY-FEED")


@pytest.mark.parametrize("row", ["a,never,1\n", "a,2024-01-01T00:00,many\n", ",2024-01-01,1\n"])
def test_a_feed_whose_rows_are_all_bad_is_refused(
    make_feed: MakeFeed, refusal: Refusal, row: str
) -> None:
    refusal(make_feed(HEAD + row + row, bad_rows="quarantine"), "EMPTY-FEED")


SOUND = {
    "unique_id": ["a", "a", "b"],
    "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]).as_unit("us"),
    "y": [1.0, np.nan, 3.0],
}


def test_observations_as_promised_are_accepted(make_feed: MakeFeed) -> None:
    contract.validate(pd.DataFrame(SOUND), make_feed(GOOD))


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({"y": [1, 2, 3]}, "column 'y' is int64"),
        ({"y": [1.0, np.inf, 3.0]}, "not finite"),
        ({"unique_id": [1, 1, 2]}, "column 'unique_id' is int64"),
        ({"unique_id": ["b", "b", "a"]}, "series are not sorted"),
        ({"unique_id": ["a", "a", None]}, "no series or no time"),
        ({"ds": SOUND["ds"].as_unit("ns")}, "column 'ds' is datetime64"),
        ({"ds": SOUND["ds"][[1, 0, 2]]}, "not sorted, or not unique"),
        ({"ds": SOUND["ds"][[0, 0, 0]]}, "not sorted, or not unique"),
        ({"ds": SOUND["ds"].where([True, True, False])}, "no series or no time"),
    ],
)
def test_observations_that_break_their_contract_are_refused(
    broken: dict[str, Any], what: str, make_feed: MakeFeed
) -> None:
    with pytest.raises(IngestError, match=what) as caught:
        contract.validate(pd.DataFrame(SOUND | broken), make_feed(GOOD))
    assert caught.value.code == "CONTRACT"


def test_observations_without_a_column_are_refused(make_feed: MakeFeed) -> None:
    with pytest.raises(IngestError, match="no column 'y'"):
        contract.validate(pd.DataFrame(SOUND).drop(columns="y"), make_feed(GOOD))


@pytest.mark.parametrize(
    "keys",
    [{"duplicates": "error"}, {"target": "sales"}, {"frequency": None}, {"timezone": "Mars/Base"}],
)
def test_a_refused_feed_leaves_the_observations_of_the_last_good_one(
    make_feed: MakeFeed, ingested: Ingested, keys: dict[str, str]
) -> None:
    ingested(make_feed(GOOD))
    before = {p.name: p.read_bytes() for p in Path("data/observations").iterdir()}
    with pytest.raises(GatecastError):
        ingested(make_feed(CONFLICT, **keys))
    assert {p.name: p.read_bytes() for p in Path("data/observations").iterdir()} == before


# --- clocks -------------------------------------------------------------------------------------------

AUTUMN = HEAD + "".join(  # the clock of Berlin goes back from 03:00 to 02:00 on 2024-10-27
    f"a,2024-10-27T{hour},{y}\n"
    for y, hour in enumerate(["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"])
)


def test_the_hour_that_comes_twice_in_autumn_is_two_hours_where_the_zone_is_declared(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    got = ingested(make_feed(AUTUMN, timezone="Europe/Berlin")).observations
    assert list(got["ds"]) == list(pd.date_range("2024-10-26 22:00", periods=6, freq="h"))
    assert list(got["y"]) == [0, 1, 2, 3, 4, 5]


def test_the_quarter_hours_that_come_twice_in_autumn_are_eight(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    quarters = [f"02:{m:02d}" for m in (0, 15, 30, 45)]
    stamps = ["01:45", *quarters, *quarters, "03:00"]
    text = HEAD + "".join(f"a,2024-10-27T{t},{y}\n" for y, t in enumerate(stamps))
    got = ingested(make_feed(text, timezone="Europe/Berlin", frequency="15min")).observations
    assert list(got["ds"]) == list(pd.date_range("2024-10-26 23:45", periods=10, freq="15min"))
    assert list(got["y"]) == list(range(10))


def test_the_hour_that_comes_twice_in_autumn_is_refused_with_the_key_that_explains_it(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    message = refusal(make_feed(AUTUMN), "DUP-TIME")
    assert "2024-10-27 02:00" in message
    assert "feed.csv line 5" in message
    assert "timezone:" in message


def test_an_ordinary_conflict_says_nothing_of_clocks(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "clock" not in refusal(make_feed(CONFLICT), "DUP-TIME")


def test_the_hour_that_does_not_exist_in_spring_is_refused(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = HEAD + "a,2024-03-31T01:00,1\na,2024-03-31T02:00,2\na,2024-03-31T03:00,3\n"
    message = refusal(make_feed(text, timezone="Europe/Berlin"), "TIME-DST")
    assert "feed.csv line 3" in message
    assert "'a'" in message
    assert "2024-03-31 02:00" in message
    assert "Europe/Berlin" in message


def test_the_hour_that_does_not_exist_in_spring_can_be_set_aside(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = HEAD + "a,2024-03-31T01:00,1\na,2024-03-31T02:00,2\na,2024-03-31T03:00,3\n"
    checked = ingested(make_feed(text, timezone="Europe/Berlin", bad_rows="quarantine"))
    assert checked.report["quarantine"] == {"TIME-DST": 1}
    assert list(checked.observations["ds"].dt.hour) == [0, 1]
    assert checked.report["missing_rows"] == 0


def test_files_that_overlap_in_an_autumn_night_are_one_feed(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    make_feed(AUTUMN, file="october.csv")
    make_feed(AUTUMN, file="week43.csv")
    checked = ingested(make_feed(file="*.csv", timezone="Europe/Berlin"))
    assert checked.report["repaired"] == 6
    assert list(checked.observations["y"]) == [0, 1, 2, 3, 4, 5]


def test_local_days_of_23_and_25_hours_are_whole(make_feed: MakeFeed, ingested: Ingested) -> None:
    utc = pd.date_range("2024-01-01", "2024-12-31 23:00", freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    text = HEAD + "".join(f"a,{t},{y}\n" for y, t in enumerate(local))
    got = ingested(make_feed(text, timezone="Europe/Berlin")).observations
    assert list(got["ds"]) == list(utc.tz_localize(None))
    assert list(got["y"]) == list(range(len(utc)))


def test_a_time_zone_means_nothing_for_days(make_feed: MakeFeed, refusal: Refusal) -> None:
    text = HEAD + "a,2024-01-01,1\na,2024-01-02,2\n"
    message = refusal(make_feed(text, frequency="D", timezone="Europe/Berlin"), "TIMEZONE")
    assert "Europe/Berlin" in message


def test_an_unknown_time_zone_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "Mars/Base" in refusal(make_feed(GOOD, timezone="Mars/Base"), "TIMEZONE")


# --- as_of --------------------------------------------------------------------------------------------

PLAYED = "id,ds,y,weather,ahead\n" + "".join(
    f"a,{HOUR.format(k)},{k},{10 + k},{20 + k}\n" for k in range(10)
)
ROLES = {"past": ["weather"], "future": ["ahead"]}
NOON = "2024-01-01T04:00"


def test_values_after_as_of_are_unknown(make_feed: MakeFeed, ingested: Ingested) -> None:
    checked = ingested(make_feed(PLAYED, cov=ROLES), as_of=NOON)
    known = checked.observations.dropna(subset="y")
    assert list(known["y"]) == [0, 1, 2, 3, 4]
    assert checked.report["last"] == "2024-01-01 04:00:00"


def test_covariates_known_ahead_are_kept_after_as_of(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    checked = ingested(make_feed(PLAYED, cov=ROLES), as_of=NOON)
    assert list(checked.observations["ahead"]) == list(range(20, 30))
    assert checked.report["rows_known_ahead"] == 5
    assert checked.report["ignored_after_as_of"] == 0


def test_past_covariates_after_as_of_are_hidden(make_feed: MakeFeed, ingested: Ingested) -> None:
    got = ingested(make_feed(PLAYED, cov=ROLES), as_of=NOON).observations
    assert list(got["weather"].dropna()) == [10, 11, 12, 13, 14]


def test_without_covariates_known_ahead_the_feed_ends_at_as_of(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    got = ingested(make_feed(PLAYED, cov={"past": ["weather"]}), as_of=NOON).observations
    assert list(got["y"]) == [0, 1, 2, 3, 4]


def test_a_series_that_begins_after_as_of_is_not_there_yet(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = PLAYED + f"late,{HOUR.format(8)},1,1,1\n"
    got = ingested(make_feed(text, cov=ROLES), as_of=NOON).observations
    assert set(got["unique_id"]) == {"a"}


def test_an_as_of_that_is_no_time_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "as_of=soon" in refusal(make_feed(GOOD), "AS-OF", as_of="soon")


def test_an_as_of_before_the_feed_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "1999" in refusal(make_feed(GOOD), "AS-OF", as_of="1999-01-01")


def test_an_as_of_with_an_offset_is_that_moment_in_utc(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    got = ingested(make_feed(PLAYED), as_of="2024-01-01T05:00+02:00").observations
    assert list(got["y"]) == [0, 1, 2, 3]


# --- nothing is lost: rows in = accepted + repaired + quarantined -------------------------------------

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "NA", ""]),
        st.sampled_from([*(HOUR.format(k) for k in range(4)), "2024-01-01T02:30", "never"]),
        st.sampled_from(["1", "2.5", "-3", "0", "", "text", "1e400"]),
    ),
    max_size=25,
)
Row = tuple[str, str, str]


def is_good(row: Row) -> bool:
    name, ds, y = row
    return bool(name) and ds.endswith(":00") and y not in ("text", "1e400")


def expected_values(rows: list[Row], rule: str) -> tuple[dict[tuple[str, str], float], int]:
    """What a reader with a pencil makes of good rows: value of each (series, time), rows merged away."""
    stated: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, ds, y in rows:
        stated[name, ds].append(float(y) if y else np.nan)

    def mean(values: list[float]) -> float:
        different = {v for v in values if v == v}  # exact duplicates are one row
        return sum(different) / len(different) if different else np.nan

    pick = {"first": lambda v: v[0], "last": lambda v: v[-1], "mean": mean}[rule]
    return {k: pick(v) for k, v in stated.items()}, len(rows) - len(stated)


@pytest.mark.parametrize("rule", ["mean", "first", "last"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_every_row_is_accepted_repaired_or_quarantined(
    make_feed: MakeFeed, ingested: Ingested, rule: str, rows: list[Row]
) -> None:
    rows = [("a", HOUR.format(0), "1"), ("a", HOUR.format(3), "2"), *rows]
    text = HEAD + "".join(",".join(r) + "\n" for r in rows)
    checked = ingested(make_feed(text, bad_rows="quarantine", duplicates=rule))
    values, merged = expected_values([r for r in rows if is_good(r)], rule)
    alive = {name for (name, _), y in values.items() if y == y}
    accepted = {k: v for k, v in values.items() if k[0] in alive}
    bad = sum(not is_good(r) for r in rows)

    report = checked.report
    assert report["rows_in"] == len(rows)
    assert report["accepted"] == len(checked.observations) == len(accepted)
    assert report["repaired"] == merged
    assert report["quarantined"] == len(checked.quarantine) == bad + len(values) - len(accepted)
    got = checked.observations
    for name, ds, y in zip(got["unique_id"], got["ds"], got["y"], strict=True):
        expected = accepted[name, ds.strftime("%Y-%m-%dT%H:00")]
        assert y == pytest.approx(expected, nan_ok=True)
