"""What scoring runs ingested is kept for a while, and never fills the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gatecast.config import Config, Feed, Score
from gatecast.scoring import read_forecasts, snapshots, store
from gatecast.scoring.run import score

DAYS = ("2024-05-08", "2024-05-10", "2024-05-12", "2024-05-14")


def kept() -> list[str]:
    """Data hashes of the snapshots, shortened as their folders are."""
    return sorted(path.parent.name for path in snapshots.SNAPSHOTS.glob("*/panel"))


def aged(hours: float) -> None:
    """As if every snapshot had last been asked for so long before it was; their order stays."""
    for path in snapshots.SNAPSHOTS.glob("*/panel"):
        then = path.parent.stat().st_mtime - 3600 * hours
        os.utime(path.parent, (then, then))


def test_the_newest_snapshots_of_a_source_are_kept_and_all_forecasts(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    config = Config(score=Score(snapshots=2))
    hashes = []
    for day in DAYS:
        manifest = score(daily_feed, config, day).manifest
        hashes.append(str(manifest["data_hash"])[:16])
        aged(hours=2)
        time.sleep(0.01)
    assert kept() == sorted(hashes[-2:])
    assert len(store.runs("sales")) == len(DAYS)
    for run in store.runs("sales"):
        assert len(read_forecasts("sales", run["run_key"])) == run["rows"]


def test_a_snapshot_that_a_waiting_run_may_need_and_those_of_other_sources_stay(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    other = replace(daily_feed, name="other")
    promote(other)
    config = Config(score=Score(snapshots=1))
    theirs = score(other, config, DAYS[0]).manifest["data_hash"][:16]
    aged(hours=2)
    mine = [score(daily_feed, config, day).manifest["data_hash"][:16] for day in DAYS[1:]]
    assert kept() == sorted([theirs, *mine])  # all of them younger than an hour
    aged(hours=2)
    again = score(daily_feed, config, DAYS[1])  # asked for again, so young again
    assert not again.fresh
    newest = score(daily_feed, config, "2024-05-15").manifest["data_hash"][:16]
    assert kept() == sorted([theirs, mine[0], newest])
