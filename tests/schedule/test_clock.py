"""The clock: every slot is scored once, whoever calls, how often, how late, or at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core import failpoints, ledger
from gatecast.core.errors import ConfigError, ScoringError
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.schedule import clock
from gatecast.schedule.clock import MISSED, SLOT
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp
from gatecast.scoring import read_forecasts, run, store
from tests.scoring.staging import Clocked

BERLIN = "Europe/Berlin"
Forked = Callable[..., int]
Ended = Callable[[int], int]
DAY = datetime(2024, 10, 27, tzinfo=UTC)  # the clocks of Berlin go back at one o'clock UTC


def at(hour: int, minute: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute)


def scheduled(clocked: Clocked, **changes: Any) -> Clocked:
    return clocked._replace(schedule=clocked.schedule.model_copy(update=changes))


def noted() -> list[str]:
    """The slots that the ledger says were scored, in the order of their rows."""
    return [e.facts["slot"] for e in Ledger().entries(SLOT, "berlin")]


def hours(*which: int) -> list[str]:
    return [stamp(at(hour)) for hour in which]


def time_passes() -> None:
    """The leases of who died have run out."""
    with closing(sqlite3.connect("ledger.db", timeout=60)) as book, book:
        book.execute("update leases set expires_at = 0")


# What is due


def table() -> Timetable:
    return Timetable(Feed(name="berlin"), "0 * * * *", "UTC")


@pytest.mark.parametrize(
    ("catchup", "now", "which"),
    [
        ("all", at(6, 30), [2, 4, 6]),  # five hours; one, three and five o'clock are done
        ("latest", at(6, 30), [6]),
        ("latest", at(7), [7]),
        ("latest", at(5, 59), []),
        ("none", at(6, 30), []),
        ("none", at(6, 9), [6]),
    ],
)
def test_what_is_due_is_what_the_ledger_misses(
    catchup: str, now: datetime, which: list[int]
) -> None:
    book, schedule = Ledger(), Schedule(cron="0 * * * *", window="5h", catchup=catchup)
    for done in (1, 3, 5):
        book.append(SLOT, "berlin", {}, key=table().key(at(done)))
    assert clock.due(table(), schedule, book, now) == [at(hour) for hour in which]


def test_slots_of_another_source_are_none_of_ours() -> None:
    book = Ledger()
    other = replace(table(), feed=Feed(name="hamburg"))
    book.append(SLOT, "hamburg", {}, key=other.key(at(6)))
    schedule = Schedule(cron="0 * * * *")
    assert clock.due(table(), schedule, book, at(6, 5)) == [at(6)]
    assert clock.due(other, schedule, book, at(6, 5)) == []


# What is done


def test_a_slot_is_scored_once_as_of_its_own_time(hourly: Clocked) -> None:
    first = clock.run_due(*hourly, at(3, 20))
    again = clock.run_due(*hourly, at(3, 40))
    assert [e.facts["slot"] for e in first.done] == hours(3)
    assert again.done == []
    assert again.next == at(4)
    (published,) = store.runs("berlin")
    (row,) = Ledger().entries(SLOT, "berlin")
    assert row.facts["run_key"] == published["run_key"]
    assert set(read_forecasts("berlin")["cutoff"]) == {pd.Timestamp(at(3)).tz_convert(BERLIN)}


def test_missing_slots_are_caught_up_oldest_first(hourly: Clocked) -> None:
    clock.run_due(*scheduled(hourly, catchup="all", window="4h"), at(4, 1))
    assert noted() == hours(1, 2, 3, 4)
    assert len(store.runs("berlin")) == 4


def test_slots_beyond_the_window_are_noted_as_missed_once(
    hourly: Clocked, capsys: pytest.CaptureFixture[str]
) -> None:
    config = scheduled(hourly, window="90min")
    for now in (at(0, 10), at(5, 10), at(5, 20), at(6, 10)):  # down for five hours
        clock.run_due(*config, now)
    said = "3 slots from 2024-10-27T01:00Z to 2024-10-27T03:00Z were missed"
    assert capsys.readouterr().out.count(said) == 1
    missed = [
        (e.facts["slots"], e.facts["first"], e.facts["last"])
        for e in Ledger().entries(MISSED, "berlin")
    ]
    assert missed == [(3, *hours(1, 3)), (1, *hours(4, 4))]
    assert noted() == hours(0, 5, 6)
    standing = clock.standing(*config)
    assert (
        "0 * * * * (Europe/Berlin), last slot 2024-10-27T06:00Z by v1, 1 due, next 20" in standing
    )
    assert standing.endswith(", 4 missed so far")


def test_a_slot_that_cannot_be_scored_stays_missing_and_holds_up_no_other(
    hourly: Clocked, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = Path("berlin.csv").read_text().splitlines(keepends=True)
    late = [row for row in rows if row.split(",")[1] >= "2024-10-27 04:00:00"]
    Path("berlin.csv").write_text("".join([head, *late]))  # begins at three o'clock UTC
    config = scheduled(hourly, catchup="all", window="3h")
    tick = clock.run_due(*config, at(4, 5))
    assert len(tick.done) == 2
    with pytest.raises(ScoringError, match=r"SLOTS.*: 1 slots could not .*: 2024-10-27T02:00Z\."):
        tick.check()
    assert "AS-OF" in capsys.readouterr().err
    assert noted() == hours(3, 4)
    Path("berlin.csv").write_text("".join([head, *rows]))
    clock.run_due(*config, at(4, 15))
    assert noted() == hours(3, 4, 2)


def test_an_error_that_nobody_foresaw_holds_up_no_other_slot(
    hourly: Clocked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = run.score_all

    def fails(feed: Feed, as_of: str, *rest: Any) -> Any:
        if as_of.endswith("T04:00+01:00"):
            raise ZeroDivisionError
        return real(feed, as_of, *rest)

    monkeypatch.setattr(run, "score_all", fails)
    tick = clock.run_due(*scheduled(hourly, catchup="all", window="2h"), at(4, 5))
    with pytest.raises(ScoringError, match=r"SLOTS.*: 2024-10-27T03:00Z\."):
        tick.check()
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert noted() == hours(4)


def test_a_clock_that_is_set_back_repeats_no_slot(hourly: Clocked) -> None:
    for now in (at(3, 5), at(4, 5), at(3, 30), at(4, 10), at(5, 5)):
        clock.run_due(*hourly, now)
    assert noted() == hours(3, 4, 5)


def test_without_a_schedule_the_setting_is_named(hourly: Clocked) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.cron"):
        clock.run_due(*scheduled(hourly, cron=None))
    assert "`schedule.cron` in params.yaml is null" in clock.standing(*scheduled(hourly, cron=None))


# One at a time


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SECONDS", 0.6)


def test_while_a_slot_is_being_scored_another_call_does_nothing(
    hourly: Clocked, short_leases: None
) -> None:
    with Ledger().lease("clock berlin", patience=0):
        tick = clock.run_due(*hourly, at(3, 5))
    assert tick.busy is not None
    assert "clock berlin is held by" in tick.text()
    assert (tick.done, noted()) == ([], [])


def test_or_waits_for_it_where_the_schedule_says_so(hourly: Clocked, short_leases: None) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with Ledger().lease("clock berlin", patience=0):
            held.set()
            free.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(60)
    threading.Timer(3 * ledger.SECONDS, free.set).start()
    clock.run_due(*scheduled(hourly, overlap="queue"), at(3, 5))
    other.join()
    assert noted() == hours(3)


def test_the_lease_of_a_killed_call_is_no_reason_to_skip_a_slot(
    hourly: Clocked, short_leases: None, forked: Forked, ended: Ended
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATECAST_FAILPOINT", "clock: lease taken")
        assert ended(forked(clock.run_due, *hourly, at(3, 5))) == failpoints.DIED
    assert clock.run_due(*hourly, at(3, 6)).busy is None
    assert noted() == hours(3)


@pytest.mark.parametrize("point", failpoints.CLOCK)
def test_a_call_that_is_killed_leaves_a_slot_that_is_scored_once(
    hourly: Clocked, point: str, forked: Forked, ended: Ended
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATECAST_FAILPOINT", point)
        assert ended(forked(clock.run_due, *hourly, at(3, 5))) == failpoints.DIED
    time_passes()
    clock.run_due(*hourly, at(3, 6))
    (published,) = store.runs("berlin")
    (row,) = Ledger().entries(SLOT, "berlin")
    assert row.facts["run_key"] == published["run_key"]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_schedulers_that_fire_at_once_score_every_slot_once(
    hourly: Clocked, overlap: str, forked: Forked, ended: Ended
) -> None:
    config = scheduled(hourly, catchup="all", window="3h", overlap=overlap)
    start = time.time() + 0.5

    def call() -> None:
        while time.time() < start:
            pass
        clock.run_due(*config, at(4, 5))

    assert [ended(child) for child in [forked(call) for _ in range(3)]] == [0, 0, 0]
    assert noted() == hours(2, 3, 4)
    rows = Ledger().entries(SLOT, "berlin")
    assert [e.facts["run_key"] for e in rows] == [m["run_key"] for m in store.runs("berlin")]
    assert len({m["cutoff"] for m in store.runs("berlin")}) == 3


# A day


@pytest.mark.slow
def test_a_day_of_restarts_missed_ticks_and_a_clock_change_has_every_slot_once(
    hourly: Clocked, forked: Forked, ended: Ended
) -> None:
    """25 hours of Berlin, ticks at odd times; calls die at every step of the clock and of scoring."""
    config = scheduled(hourly, catchup="all", window="12h")
    points = [*failpoints.CLOCK, *failpoints.SCORING]
    rng = np.random.default_rng(20241027)
    begin = at(-2)  # midnight in Berlin
    now, died = begin + timedelta(minutes=1), 0
    while now < at(23):
        tick = int(rng.integers(4))
        if tick == 0:  # nobody calls
            pass
        elif tick == 1:  # the clock was a little behind for a moment
            assert ended(forked(clock.run_due, *config, now - timedelta(minutes=50))) == 0
        else:
            point = points[died % len(points)] if tick == 2 else ""
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GATECAST_FAILPOINT", point)
                status = ended(forked(clock.run_due, *config, now))
            assert status in ((0, failpoints.DIED) if point else (0,))
            died += status == failpoints.DIED
            time_passes()
        now += timedelta(minutes=int(rng.integers(5, 90)))
    clock.run_due(*config, at(23, 1))
    assert died >= 5
    slots = list(Timetable.of(*config).between(begin, at(23)))
    assert len(slots) == 26  # midnight to midnight, and the hour that came twice
    scored = [s for s in noted() if s >= stamp(begin)]
    assert scored == [stamp(slot) for slot in slots]
    rows = {e.facts["slot"]: e.facts for e in Ledger().entries(SLOT, "berlin")}
    runs = {m["run_key"]: m for m in store.runs("berlin")}
    assert {facts["run_key"] for facts in rows.values()} == set(runs)
    assert len(rows) == len(runs)
    assert Ledger().entries(MISSED, "berlin") == []
    for slot, facts in rows.items():
        forecasts = read_forecasts("berlin", facts["run_key"])
        assert len(forecasts) == 2 * 6
        assert set(forecasts["cutoff"]) == {pd.Timestamp(slot).tz_convert(BERLIN)}
