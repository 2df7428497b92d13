"""The time axis, and what the calendar says about its stamps; checked against the standard library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import IngestError
from gatecast.data import calendar


def axis(first: str, periods: int, frequency: str) -> pd.DatetimeIndex:
    return pd.date_range(first, periods=periods, freq=frequency).as_unit("us")


def feature(
    stamps: pd.DatetimeIndex, name: str, timezone: str | None = None, country: str | None = None
) -> np.ndarray:
    return calendar.features(stamps, [name], timezone, country)


def waves(phases: Sequence[float], count: int) -> list[list[float]]:
    """sin and cos of 1 … count turns a phase."""
    return [
        [f(2 * math.pi * k * p) for k in range(1, count + 1) for f in (math.sin, math.cos)]
        for p in phases
    ]


# --- frequencies --------------------------------------------------------------------------------------


def test_an_undeclared_frequency_is_refused_with_a_hint() -> None:
    with pytest.raises(IngestError, match="looks monthly") as caught:
        calendar.offset(None, " It looks monthly.")
    assert caught.value.code == "FREQ-UNDECLARED"


@pytest.mark.parametrize("alias", ["hourly", "H", "M", "-1D", "0min", "W-FOO"])
def test_what_pandas_does_not_know_or_runs_backward_is_refused(alias: str) -> None:
    with pytest.raises(IngestError) as caught:
        calendar.offset(alias)
    assert caught.value.code == "FREQ-UNKNOWN"
    assert alias in str(caught.value)


@pytest.mark.parametrize(
    ("alias", "steps"),
    [("15min", 96), ("30min", 48), ("h", 24), ("6h", 4), ("7h", None), ("D", None), ("24h", None)]
    + [(a, None) for a in ("W-MON", "MS", "QS", "YS")],
)
def test_steps_per_day_are_counted_where_steps_divide_the_day(
    alias: str, steps: int | None
) -> None:
    assert calendar.steps_per_day(alias) == steps


@pytest.mark.parametrize(
    ("alias", "short"),
    [("15min", True), ("h", True), ("12h", True), ("D", False), ("MS", False)],
)
def test_only_steps_shorter_than_a_day_are_subdaily(alias: str, short: bool) -> None:
    assert calendar.is_subdaily(alias) is short


# --- the axis -----------------------------------------------------------------------------------------


def test_the_axis_holds_every_stamp_from_first_to_last() -> None:
    got = calendar.make_axis(pd.Timestamp("2024-02-28 23:30"), pd.Timestamp("2024-03-01"), "15min")
    first = datetime(2024, 2, 28, 23, 30)
    assert list(got.to_pydatetime()) == [first + timedelta(minutes=15 * k) for k in range(99)]


def test_the_axis_of_month_starts_knows_leap_years() -> None:
    got = calendar.make_axis(pd.Timestamp("2023-12-01"), pd.Timestamp("2024-04-01"), "MS")
    assert [str(t.date()) for t in got] == [
        "2023-12-01",
        "2024-01-01",
        "2024-02-01",
        "2024-03-01",
        "2024-04-01",
    ]


def test_an_axis_of_more_than_fifty_million_steps_is_refused() -> None:
    with pytest.raises(IngestError, match="1900") as caught:
        calendar.make_axis(pd.Timestamp("1900-01-01"), pd.Timestamp("2024-01-01"), "min")
    assert caught.value.code == "TIME-SPAN"


# --- which features are used --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "n", "country", "names"),
    [
        ("h", 24 * 100, None, ["time_of_day", "day_of_week"]),
        ("h", 24 * 727, None, ["time_of_day", "day_of_week"]),
        ("h", 24 * 730, None, ["time_of_day", "day_of_week", "day_of_year"]),
        ("15min", 960, "DE", ["time_of_day", "day_of_week", "holiday"]),
        ("D", 365, None, ["day_of_week"]),
        ("D", 730, "US", ["day_of_week", "day_of_year", "holiday"]),
        ("W-MON", 104, "US", ["day_of_year"]),
        ("MS", 36, "US", ["day_of_year"]),
        ("QS", 12, None, ["day_of_year"]),
        ("YS", 30, None, []),
    ],
)
def test_features_are_those_a_panel_of_this_frequency_and_length_can_learn(
    alias: str, n: int, country: str | None, names: list[str]
) -> None:
    assert calendar.choose(alias, n, country) == names


# --- the features themselves --------------------------------------------------------------------------


def test_time_of_day_is_three_waves_a_day() -> None:
    stamps = axis("2024-03-01", 96, "15min")
    expected = waves([k / 96 for k in range(96)], 3)
    assert feature(stamps, "time_of_day") == pytest.approx(np.array(expected), abs=1e-6)


def test_day_of_week_marks_one_of_seven_monday_first() -> None:
    stamps = axis("2023-12-25", 60, "D")
    expected = [[float(t.weekday() == d) for d in range(7)] for t in stamps.to_pydatetime()]
    assert np.array_equal(feature(stamps, "day_of_week"), expected)


def test_day_of_year_is_two_waves_a_year() -> None:
    stamps = axis("2024-01-01", 24, "MS")
    days = [t.timetuple().tm_yday / 365.25 for t in stamps.to_pydatetime()]
    assert feature(stamps, "day_of_year") == pytest.approx(np.array(waves(days, 2)), abs=1e-6)


US_2024 = "01-01 01-15 02-19 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25"  # opm.gov
DE_2024 = "01-01 03-29 04-01 05-01 05-09 05-20 10-03 12-25 12-26"  # nationwide


@pytest.mark.parametrize(("country", "days"), [("US", US_2024), ("DE", DE_2024)])
def test_holidays_are_those_of_the_country(country: str, days: str) -> None:
    stamps = axis("2024-01-01", 366, "D")
    marked = feature(stamps, "holiday", country=country)[:, 0] > 0
    assert [f"{t:%m-%d}" for t in stamps[marked]] == days.split()


def test_every_hour_of_a_holiday_is_one() -> None:
    stamps = axis("2024-07-03", 72, "h")
    marked = feature(stamps, "holiday", country="US")[:, 0] > 0
    assert {t.date() for t in stamps[marked]} == {date(2024, 7, 4)}
    assert marked.sum() == 24


def test_an_unknown_country_is_refused() -> None:
    with pytest.raises(IngestError, match="ATLANTIS") as caught:
        calendar.check_country("ATLANTIS")
    assert caught.value.code == "HOLIDAYS"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("first", ["2024-03-30", "2024-10-26"])
def test_the_clock_and_the_days_are_read_in_the_declared_zone(zone: str, first: str) -> None:
    stamps = axis(first, 72, "h")
    local = [t.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)) for t in stamps.to_pydatetime()]
    phases = [(t.hour * 60 + t.minute) / 1440 for t in local]
    week = [[float(t.weekday() == d) for d in range(7)] for t in local]
    assert feature(stamps, "time_of_day", zone) == pytest.approx(
        np.array(waves(phases, 3)), abs=1e-6
    )
    assert np.array_equal(feature(stamps, "day_of_week", zone), week)


def test_holidays_begin_at_local_midnight() -> None:
    stamps = axis("2024-12-24 20:00", 8, "h")  # UTC
    marked = feature(stamps, "holiday", "Europe/Berlin", "DE")[:, 0] > 0
    assert stamps[marked][0] == pd.Timestamp("2024-12-24 23:00")


def test_features_stand_side_by_side_in_the_declared_widths() -> None:
    stamps = axis("2024-01-01", 5, "h")
    names = list(calendar.WIDTH)
    whole = calendar.features(stamps, names, None, "US")
    assert whole.shape == (5, sum(calendar.WIDTH.values()))
    assert whole.dtype == np.float32
    parts = [feature(stamps, n, country="US") for n in names]
    assert [p.shape[1] for p in parts] == list(calendar.WIDTH.values())
    assert np.array_equal(whole, np.hstack(parts))


def test_no_features_are_a_table_without_columns() -> None:
    assert calendar.features(axis("2024-01-01", 5, "YS"), [], None, None).shape == (5, 0)


@pytest.mark.parametrize(
    ("frequency", "season"),
    [
        ("15min", 96),
        ("h", 24),
        ("2h", 12),
        ("D", 7),
        ("B", 5),
        ("W-MON", 52),
        ("MS", 12),
        ("QS", 4),
        ("YS", 1),
    ],
)
def test_the_usual_season_is_a_day_a_week_or_a_year(frequency: str, season: int) -> None:
    assert calendar.usual_season(frequency) == season
