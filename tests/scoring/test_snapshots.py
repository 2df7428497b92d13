"""What scoring runs ingested is kept for a while, and never fills the disk."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatecast.core import ledger
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.scoring import read_forecasts, snapshots, store
from gatecast.scoring.config import Score
from gatecast.scoring.run import score

DAYS = ("2024-05-08", "2024-05-10", "2024-05-12", "2024-05-14")


def kept() -> list[str]:
    """Data hashes of the snapshots, shortened as their folders are."""
    return sorted(path.parent.name for path in snapshots.SNAPSHOTS.glob("[!.]*/panel"))


def aged(hours: float) -> None:
    """As if every snapshot had last been asked for so long before it was; their order stays."""
    for path in snapshots.SNAPSHOTS.glob("*/panel"):
        then = path.parent.stat().st_mtime - 3600 * hours
        os.utime(path.parent, (then, then))


def test_the_newest_snapshots_of_a_source_are_kept_and_all_forecasts(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    rules = Score(snapshots=2)
    hashes = []
    for day in DAYS:
        manifest = score(daily_feed, day, rules).manifest
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
    other = daily_feed.model_copy(update={"name": "other"})
    promote(other)
    rules = Score(snapshots=1)
    theirs = score(other, DAYS[0], rules).manifest["data_hash"][:16]
    aged(hours=2)
    mine = [score(daily_feed, day, rules).manifest["data_hash"][:16] for day in DAYS[1:]]
    assert kept() == sorted([theirs, *mine])  # all of them younger than an hour
    aged(hours=2)
    again = score(daily_feed, DAYS[1], rules)  # asked for again, so young again
    assert not again.fresh
    newest = score(daily_feed, "2024-05-15", rules).manifest["data_hash"][:16]
    assert kept() == sorted([theirs, mine[0], newest])


def test_a_tidying_that_is_killed_leaves_no_half_of_a_snapshot(
    daily_feed: Feed, promote: Callable[[Feed], Any], forked: Callable[..., int],
    ended: Callable[[int], int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    promote(daily_feed)
    old = score(daily_feed, DAYS[0]).manifest
    new = score(daily_feed, DAYS[1]).manifest
    aged(hours=2)

    def killed(path: Path, **_: Any) -> None:
        (path / "panel" / "values.npy").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        assert ended(forked(snapshots.tidy, "sales", 1)) == -signal.SIGKILL
    assert kept() == [new["data_hash"][:16]]
    shutil.rmtree(store_of(old))
    assert score(daily_feed, DAYS[0]).manifest["rows"] == old["rows"]
    assert sorted(p.name for p in snapshots.SNAPSHOTS.glob(".*")) == []


@pytest.mark.parametrize("lost", ["panel.json", "values.npy"])
def test_a_snapshot_that_is_not_whole_is_made_anew(
    daily_feed: Feed, promote: Callable[[Feed], Any], lost: str
) -> None:
    promote(daily_feed)
    first = score(daily_feed).manifest
    shutil.rmtree(store_of(first))
    (snapshots.SNAPSHOTS / first["data_hash"][:16] / "panel" / lost).unlink()
    assert score(daily_feed).manifest["rows"] == first["rows"]


def test_what_a_killed_writer_of_a_snapshot_left_goes_after_a_day(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    new, old = (
        snapshots.SNAPSHOTS / f".0123456789abcdef-{name}" for name in ("newnewxx", "oldoldxx")
    )
    for left in (new, old):
        (left / "observations").mkdir(parents=True)
    then = time.time() - 2 * 86_400
    os.utime(old, (then, then))
    score(daily_feed)
    assert (new.exists(), old.exists()) == (True, False)


def test_a_second_scorer_waits_as_long_as_the_first_lives_and_says_so_once(
    daily_feed: Feed, promote: Callable[[Feed], Any],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(ledger, "SECONDS", 0.3)
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)  # of whoever does not ask for more
    promote(daily_feed)
    held, again = threading.Event(), list[bool]()

    def until(condition: Callable[[], bool]) -> None:
        late = time.monotonic() + 60
        while not condition() and time.monotonic() < late:
            time.sleep(0.05)

    def hold() -> None:
        with Ledger().lease("scoring sales", patience=60):
            held.set()
            until(lambda: len(kept()) == 1)
            aged(hours=2)
            snapshot = snapshots.SNAPSHOTS / kept()[0]
            asked = lambda: time.time() - snapshot.stat().st_mtime < 3600  # noqa: E731
            until(asked)
            again.append(asked())

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(60)
    assert score(daily_feed).fresh
    other.join()
    assert again == [True]  # no other run removes its snapshot meanwhile
    assert capsys.readouterr().err.count(f"scoring sales waits for {ledger.who()}") == 1


def store_of(run: dict[str, Any]) -> Path:
    """Folder of a published run."""
    return Path("forecasts") / run["source"] / run["run_key"]
