"""Past slots: as of their time, by the model that was champion then, or by the one of now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from gatecast.core import failpoints
from gatecast.core.errors import ConfigError, ScoringError
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed, Task
from gatecast.registry import champion
from gatecast.registry.mlflow import store as mlflow_store
from gatecast.schedule import backfill
from gatecast.schedule.backfill import Span
from gatecast.schedule.config import Schedule
from gatecast.scoring import read_forecasts, store
from tests.scoring.staging import Clocked

MODEL = "gatecast-berlin"


class Years(NamedTuple):
    span: Span
    feed: Feed
    schedule: Schedule


@pytest.fixture
def years(hourly: Clocked) -> Years:
    """Version 1 became champion at noon of 18 October, version 2 on the 20th; slots at six every morning."""
    client = mlflow_store.client()
    first = client.get_model_version(MODEL, "1")
    second = client.create_model_version(MODEL, first.source, first.run_id, tags=first.tags)
    client.set_registered_model_alias(MODEL, "champion", second.version)
    facts = {"verdict": "promoted", "champion": 2, "champion_before": 1}
    Ledger().append("promotion", MODEL, facts)
    with closing(sqlite3.connect("ledger.db")) as book, book:
        for number, moment in enumerate(("2024-10-18T12:00:00+00:00", "2024-10-20T12:00:00+00:00")):
            key = f"(select id from ledger where kind = 'promotion' order by id limit 1 offset {number})"
            book.execute(f"update ledger set at = ? where id = {key}", [moment])
    span = Span("2024-10-18", "2024-10-21")
    return Years(span, hourly.feed, Schedule(cron="0 6 * * *"))


def versions() -> dict[str, int]:
    """Which version scored the slots that were published."""
    return {m["as_of"]: m["version"] for m in store.runs("berlin")}


def test_each_slot_is_scored_by_the_champion_of_its_time(years: Years) -> None:
    done = backfill.run_span(*years)
    assert versions() == {
        "2024-10-19T06:00+02:00": 1,
        "2024-10-20T06:00+02:00": 1,
        "2024-10-21T06:00+02:00": 2,
    }
    assert done.slots == {backfill.SCORED: 3, backfill.NOBODY: 1}
    assert "backfill of 4 slots, 2024-10-18T04:00Z to 2024-10-21T04:00Z" in done.text()
    assert {m["kind"] for m in store.runs("berlin")} == {"backfill"}


def test_a_hindcast_is_by_the_champion_of_now(years: Years) -> None:
    done = backfill.run_span(*years._replace(span=replace(years.span, hindcast=True)))
    assert set(versions().values()) == {2}
    assert done.slots == {backfill.SCORED: 4}
    assert {m["kind"] for m in store.runs("berlin")} == {"hindcast"}


def test_a_slot_knows_nothing_of_what_came_after_it(years: Years) -> None:
    backfill.run_span(*years)
    for run in store.runs("berlin"):
        table = read_forecasts("berlin", run["run_key"])
        assert set(table["cutoff"]) == {pd.Timestamp(run["as_of"])}


def test_a_slot_knows_nothing_that_was_delivered_after_it(years: Years) -> None:
    frame = pd.read_csv("berlin.csv", parse_dates=["ds"])
    frame["said"] = frame["ds"] + pd.Timedelta(hours=2)
    frame.to_csv("berlin.csv", index=False)
    feed = years.feed.model_copy(update={"known_at": "said"})
    backfill.run_span(*years._replace(feed=feed))
    for run in store.runs("berlin"):
        cutoff = pd.Timestamp(run["as_of"]) - pd.Timedelta(hours=2)
        assert set(read_forecasts("berlin", run["run_key"])["cutoff"]) == {cutoff}


def test_a_killed_backfill_goes_on_where_it_was(
    years: Years,
    forked: Callable[..., int],
    ended: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATECAST_FAILPOINT", "scoring: noted")
    assert ended(forked(backfill.run_span, *years)) == failpoints.DIED
    monkeypatch.delenv("GATECAST_FAILPOINT")
    with closing(sqlite3.connect("ledger.db", timeout=60)) as book, book:
        book.execute("update leases set expires_at = 0")
    done = backfill.run_span(*years)
    assert done.slots == {backfill.NOBODY: 1, backfill.BEFORE: 1, backfill.SCORED: 2}
    assert backfill.run_span(*years).slots == {backfill.NOBODY: 1, backfill.BEFORE: 3}
    assert len(store.runs("berlin")) == 3


def test_a_slot_that_fails_holds_up_no_other(years: Years) -> None:
    head, *rows = Path("berlin.csv").read_text().splitlines(keepends=True)
    late = [row for row in rows if row.split(",")[1] >= "2024-10-20"]
    Path("berlin.csv").write_text("".join([head, *late]))
    with pytest.raises(ScoringError) as caught:
        backfill.run_span(*years).check()
    assert caught.value.code == "SLOTS"
    assert "2 scored, 1 failed" in str(caught.value)
    assert versions() == {"2024-10-20T06:00+02:00": 1, "2024-10-21T06:00+02:00": 2}


def test_a_slot_that_fails_for_a_reason_nobody_foresaw_holds_up_no_other(
    years: Years, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score = backfill.run.score_all

    def fails_once(feed: Feed, as_of: str, *rest: Any) -> Any:
        if "10-20" in as_of:
            raise ZeroDivisionError
        return score(feed, as_of, *rest)

    monkeypatch.setattr(backfill.run, "score_all", fails_once)
    with pytest.raises(ScoringError) as caught:
        backfill.run_span(*years).check()
    assert caught.value.code == "SLOTS"
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert versions() == {"2024-10-19T06:00+02:00": 1, "2024-10-21T06:00+02:00": 2}


def test_a_version_that_was_deleted_is_named(
    years: Years, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow_store.client().delete_model_version(MODEL, "1")
    assert len(backfill.run_span(*years).failed) == 2
    assert "RegistryError[NO-VERSION]: gatecast-berlin has no version 1" in capsys.readouterr().err
    assert set(versions().values()) == {2}


def test_a_version_is_loaded_by_its_number(years: Years) -> None:
    assert champion.numbered("berlin", 1).version == 1
    sitting = champion.champion("berlin")
    assert sitting is not None
    assert sitting.version == 2


def test_a_hindcast_without_a_champion_scores_nothing(hourly: Clocked) -> None:
    mlflow_store.client().delete_registered_model_alias(MODEL, "champion")
    with pytest.raises(ScoringError) as caught:
        backfill.run_span(Span("2024-10-20", "2024-10-21", hindcast=True), *hourly)
    assert caught.value.code == "NO-CHAMPION"


# The slots of a span


def slots(begin: str, end: str, cron: str | None = None, **feed: Any) -> list[str]:
    recipe = {"name": "shop", "frequency": "D", "task": Task(horizon=7)} | feed
    found = backfill.past_slots(Span(begin, end), Feed(**recipe), Schedule(cron=cron))
    return [f"{slot:%m-%d %H:%M}" for slot in found]


def test_a_bare_date_is_the_whole_day() -> None:
    every = "0 */12 * * *"
    assert slots("2025-03-01", "2025-03-01", every) == ["03-01 00:00", "03-01 12:00"]
    assert slots("2025-03-01", "2025-03-01T00:00", every) == ["03-01 00:00"]
    assert slots("2025-03-01", "2025-03-01", every, frequency="h", timezone="Europe/Berlin") == [
        "02-28 23:00",
        "03-01 11:00",
    ]


def test_without_a_schedule_slots_are_a_horizon_apart() -> None:
    assert slots("2025-03-01", "2025-03-20") == ["03-01 00:00", "03-08 00:00", "03-15 00:00"]
    monthly = {"frequency": "MS", "task": Task(horizon=2)}
    assert slots("2025-01-01", "2025-06-30", **monthly) == [
        f"{month}-01 00:00" for month in ("01", "03", "05")
    ]


def test_days_begin_at_midnight_of_the_feeds_own_zone() -> None:
    found = slots("2025-03-01", "2025-03-08", timezone="Asia/Kolkata")
    assert found == ["02-28 18:30", "03-07 18:30"]


def test_hours_stay_a_horizon_apart_over_a_clock_change_of_a_feed() -> None:
    hourly = {"frequency": "h", "timezone": "Europe/Berlin", "task": Task(horizon=24)}
    found = slots("2024-10-26", "2024-10-28", **hourly)
    assert found == ["10-25 22:00", "10-26 22:00", "10-27 22:00", "10-28 22:00"]


def test_the_horizon_is_the_one_of_params_where_it_is_set() -> None:
    feed, span = Feed(frequency="D", task=Task(horizon=7)), Span("2025-03-01", "2025-03-20")
    found = list(backfill.past_slots(span, feed, Schedule(), horizon=10))
    assert found == [datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 11, tzinfo=UTC)]


def test_a_span_without_a_slot_is_refused(hourly: Clocked) -> None:
    with pytest.raises(ConfigError) as caught:
        backfill.run_span(Span("2024-10-20", "2024-10-19T00:00"), *hourly)
    assert caught.value.code == "SPAN"
