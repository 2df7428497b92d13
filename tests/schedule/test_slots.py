"""The slots of a schedule: instants, each one once, whatever the wall clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.errors import ConfigError
from gatecast.core.schema import read
from gatecast.data.config import Feed
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp

BERLIN = "Europe/Berlin"
AUTUMN, SPRING = datetime(2024, 10, 27, tzinfo=UTC), datetime(2024, 3, 31, tzinfo=UTC)


def table(cron: str, zone: str = "UTC", feed_zone: str | None = None) -> Timetable:
    return Timetable(Feed(name="shop", timezone=feed_zone), cron, zone)


def slots(cron: str, zone: str, day: datetime) -> list[str]:
    """``HH:MM`` in UTC of the slots from midnight to six."""
    found = table(cron, zone).between(day, day + timedelta(hours=6))
    return [f"{slot:%H:%M}" for slot in found]


def test_both_ends_of_a_span_belong_to_it() -> None:
    assert slots("0 */3 * * *", "UTC", AUTUMN) == ["00:00", "03:00", "06:00"]


@pytest.mark.parametrize("day", [AUTUMN, SPRING])
def test_an_hourly_schedule_has_every_hour_of_a_clock_change_once(day: datetime) -> None:
    assert slots("0 * * * *", BERLIN, day) == [f"{h:02d}:00" for h in range(7)]


def test_an_hour_that_comes_twice_is_two_slots_and_one_that_never_comes_is_none_lost() -> None:
    assert slots("30 2 * * *", BERLIN, AUTUMN) == ["00:30", "01:30"]
    assert slots("30 2 * * *", BERLIN, SPRING) == ["01:30"]  # half past three by the clock
    assert slots("0 2,3 * * *", BERLIN, SPRING) == ["01:00"]  # two and three are one instant


CHANGES = [  # a minute of the gap or of the hour that comes twice
    (BERLIN, datetime(2025, 3, 30, 1, tzinfo=UTC)),
    (BERLIN, datetime(2025, 10, 26, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2025, 10, 4, 15, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2025, 4, 5, 15, tzinfo=UTC)),
]


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 0-23/2 * * *", "15 * * * *", "10,40 1-3 * * *"])
def test_the_slots_do_not_depend_on_where_the_search_begins(
    cron: str, zone: str, change: datetime
) -> None:
    one, hours = table(cron, zone), timedelta(hours=4)
    chain = list(one.between(change - timedelta(days=2), change + timedelta(days=3)))
    for minute in range(-240, 241, 5):
        moment = change + timedelta(minutes=minute)
        assert next(iter(one.between(moment, chain[-1]))) == min(s for s in chain if s >= moment)
        assert one.after(moment) == min(s for s in chain if s > moment)
    assert one.last(change + hours, hours) == max(
        (s for s in chain if change <= s <= change + hours), default=None
    )


@pytest.mark.parametrize(
    ("zone", "cron", "day"),
    [
        ("America/New_York", "30 0 * * mon-fri", datetime(2025, 3, 10)),  # the day after the change
        ("America/Havana", "0 0 * * *", datetime(2025, 3, 9)),  # midnight is skipped
    ],
)
def test_no_day_is_lost_around_a_clock_change(zone: str, cron: str, day: datetime) -> None:
    begin = day.replace(tzinfo=ZoneInfo(zone))
    found = list(table(cron, zone).between(begin, begin + timedelta(hours=12)))
    assert [slot.astimezone(ZoneInfo(zone)).date() for slot in found] == [day.date()]


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 6 * * 1-5", [1, 2, 3, 4, 5, 8]),
        ("0 6 * * mon-fri", [1, 2, 3, 4, 5, 8]),
        ("0 6 * * 0", [7]),
        ("0 6 * * 7", [7]),
        ("0 6 4 * mon", [1, 4, 8]),  # a day of the month or a weekday, as cron has it
    ],
)
def test_days_are_read_as_cron_reads_them(cron: str, days: list[int]) -> None:
    monday = datetime(2024, 7, 1, tzinfo=UTC)
    found = table(cron).between(monday, monday + timedelta(days=8))
    assert [slot.day for slot in found] == days


def test_a_slot_less_than_a_second_ahead_is_the_next_one() -> None:
    slot = datetime(2024, 5, 2, 6, tzinfo=UTC)
    assert table("0 6 * * *").after(slot - timedelta(milliseconds=1)) == slot
    assert table("0 6 * * *").after(slot) == slot + timedelta(days=1)


@settings(max_examples=30, deadline=None)
@given(
    zone=st.sampled_from([BERLIN, "Australia/Lord_Howe", "America/St_Johns", "UTC"]),
    begin=st.datetimes(datetime(2024, 1, 1), datetime(2025, 12, 1), timezones=st.just(UTC)),
    hours=st.integers(1, 60),
)
def test_quarters_of_an_hour_follow_each_other_in_every_zone(
    zone: str, begin: datetime, hours: int
) -> None:
    """Every offset is a multiple of half an hour, so each quarter of an hour is one in UTC too."""
    end = begin + timedelta(hours=hours)
    found = list(table("*/15 * * * *", zone).between(begin, end))
    ticks = [t for k in range(hours * 4 + 2) if (t := _floor(begin, k)) >= begin and t <= end]
    assert found == ticks


def _floor(begin: datetime, k: int) -> datetime:
    hour = begin.replace(minute=0, second=0, microsecond=0)
    return hour + timedelta(minutes=15 * (begin.minute // 15 + k))


def test_a_slot_is_told_by_the_feeds_own_clock() -> None:
    slot = AUTUMN.replace(hour=1)  # the second two o'clock of Berlin
    assert table("0 * * * *", BERLIN, BERLIN).as_of(slot) == "2024-10-27T02:00+01:00"
    assert table("0 * * * *", "UTC", BERLIN).as_of(slot) == "2024-10-27T02:00+01:00"
    assert table("0 * * * *", "UTC").as_of(slot) == "2024-10-27T01:00"
    assert table("0 * * * *", BERLIN).as_of(slot) == "2024-10-27T02:00"


def test_the_newest_slot_is_found_only_within_the_window() -> None:
    daily = table("0 6 * * *")
    now = datetime(2024, 5, 2, 5, 59, tzinfo=UTC)
    assert daily.last(now, timedelta(days=1)) == datetime(2024, 5, 1, 6, tzinfo=UTC)
    assert daily.last(now, timedelta(hours=3)) is None
    assert daily.after(now) == datetime(2024, 5, 2, 6, tzinfo=UTC)


def test_the_zone_is_the_schedules_then_the_sources_then_utc() -> None:
    def zone(schedule: str | None, feed: str | None) -> str:
        chosen = Schedule(cron="0 6 * * *", timezone=schedule)
        return Timetable.of(Feed(timezone=feed), chosen).zone

    assert zone("Asia/Tokyo", BERLIN) == "Asia/Tokyo"
    assert zone(None, BERLIN) == BERLIN
    assert zone(None, None) == "UTC"


def test_without_a_schedule_nothing_can_be_due() -> None:
    with pytest.raises(ConfigError) as caught:
        Timetable.of(Feed(), Schedule())
    assert caught.value.code == "SCHEDULE"


def test_an_instant_is_written_in_utc() -> None:
    assert stamp(datetime(2024, 10, 27, 2, fold=1, tzinfo=ZoneInfo(BERLIN))) == "2024-10-27T01:00Z"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cron", "0 * * *", "five fields"),
        ("cron", "61 * * * *", "five fields"),
        ("cron", "soon", "five fields"),
        (
            "cron",
            "0 0 30 feb *",
            "five fields: minute, hour, day, month, weekday (Bad day-of-month)",
        ),
        ("cron", "0 0 * * 8", "(Bad day-of-week)"),
        ("cron", "0 0 0 * * *", "five fields"),
        ("timezone", "Europe/Berlinn", "like Europe/Berlin"),
        ("timezone", "../etc/passwd", "like Europe/Berlin"),
        ("window", "soon", "a span above 0"),
        ("window", "-1h", "a span above 0"),
        ("catchup", "al", "Did you mean 'all'"),
        ("overlap", "wait", "skip, queue"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Schedule, {key: value}, "params.yaml", "schedule.")
    assert f"`schedule.{key}`" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "cron",
    ["*/5 * * * *", "0 6 * * mon-fri", "0 6 * * 1-5", "0 6 1 * *", "0,30 6-18/2 * jan,feb *"],
)
def test_a_crontab_expression_is_accepted(cron: str) -> None:
    assert Schedule(cron=cron).cron == cron
