"""A feed that brings nothing new is not scored as if it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.core.errors import ConfigError, IngestError
from gatecast.core.schema import read
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Demo, DemoFeed, Feed, FileFeed, RawFile, Task
from gatecast.data.panel import Panel
from gatecast.scoring import freshness, store
from gatecast.scoring.config import Score
from gatecast.scoring.run import score


def ending(hours_ago: float, zone: str | None = None) -> tuple[Panel, FileFeed]:
    """An hourly feed whose newest value is so old, a horizon of six hours, and its panel."""
    feed = FileFeed(
        name="load", files=[RawFile(path="load.csv")], time=["ds"], frequency="h", timezone=zone,
        task=Task(horizon=6, season_length=24),
    )  # fmt: skip
    last = pd.Timestamp.now("UTC").tz_localize(None).floor("h") - pd.Timedelta(hours=hours_ago)
    stamps = pd.date_range(end=last, periods=50, freq="h").as_unit("us")
    known = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0}).astype({"unique_id": "str"})
    ids = known[["unique_id"]].drop_duplicates()
    return build_panel(known, ids, feed, feasible=False), feed


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_feed_older_than_max_age_is_refused_and_says_what_to_do(zone: str | None) -> None:
    panel, feed = ending(30, zone)
    freshness.check(panel, feed, None, Score(max_age="32h"))
    with pytest.raises(
        IngestError, match=r"\[STALE-FEED\].* 30 hours old; .*max_age.* is 1D"
    ) as it:
        freshness.check(panel, feed, None, Score(max_age="1D"))
    assert "score.max_age=null" in it.value.fix


def test_as_of_is_the_time_by_which_a_feed_is_old() -> None:
    panel, feed = ending(2000)
    newest = panel.axis[panel.last - 1]
    freshness.check(panel, feed, str(newest + pd.Timedelta(hours=3)), Score(max_age="4h"))
    with pytest.raises(IngestError, match="STALE-FEED"):
        freshness.check(panel, feed, str(newest + pd.Timedelta(hours=5)), Score(max_age="4h"))


def test_a_time_to_come_makes_no_feed_older() -> None:
    panel, feed = ending(1)
    freshness.check(panel, feed, "2999-01-01", Score(max_age="4h"))


@pytest.mark.parametrize(("hours", "said"), [(5, False), (8, True)])
def test_without_a_limit_a_forecast_that_lies_in_the_past_is_remarked_on(
    hours: float, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    freshness.check(*ending(hours), None, Score())
    assert ("the whole forecast lies in the past" in capsys.readouterr().err) is said


ENDED: dict[str, Feed] = {
    "the demo": DemoFeed(name="demo", frequency="h", demo=Demo(n_days=14), task=Task(horizon=6)),
    "files with a checksum": FileFeed(
        name="bikes", files=[RawFile(path="x.csv", sha256="0")], time=["ds"], task=Task(horizon=6)
    ),
    "files without stamps": FileFeed(
        name="m4", files=[RawFile(path="x.csv")], layout="wide_rows", id="V1", start="2000-01-01",
        task=Task(horizon=6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDED)
def test_a_feed_that_has_an_end_is_not_remarked_on(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    panel, _ = ending(9000)
    freshness.check(panel, ENDED[kind], None, Score())
    assert not capsys.readouterr().err


@pytest.mark.parametrize("span", ["soon", "-1D", "0h", 2])
def test_what_is_no_span_is_refused(span: Any) -> None:
    with pytest.raises(ConfigError, match=r"score\.max_age"):
        read(Score, {"max_age": span}, "params.yaml", "score.")


def test_a_stale_feed_publishes_nothing_but_a_backfill_of_it_does(
    project: Path, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    rules = Score(max_age="7D")
    with pytest.raises(IngestError, match="STALE-FEED"):
        score(daily_feed, rules=rules)
    assert not store.runs("sales")
    score(daily_feed, "2024-05-10", rules)
    score(daily_feed, "2024-07-01", rules, kind="backfill")
    assert len(store.runs("sales")) == 2


def test_a_feed_that_was_scored_before_it_stopped_is_refused_all_the_same(
    project: Path, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    """The run that a schedule would find published is the one that hides a dead feed."""
    promote(daily_feed)
    score(daily_feed)
    with pytest.raises(IngestError, match="STALE-FEED"):
        score(daily_feed, rules=Score(max_age="7D"))
