"""Parts that no run publishes do not fill the disk; nothing else is removed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatecast.core.errors import ScoringError
from gatecast.data.config import Feed
from gatecast.scoring import read_forecasts, shard_files
from gatecast.scoring.config import Score, SinkSettings
from gatecast.scoring.run import score
from gatecast.scoring.storage import open_storage

DAYS = ("2024-05-08", "2024-05-10", "2024-05-12")
TOO_MANY = Score().model_copy(update={"min_success_fraction": 2.0})  # no run has as many


def fails(feed: Feed, day: str, sink: SinkSettings | None = None) -> None:
    with pytest.raises(ScoringError, match="TOO-FEW"):
        score(feed, day, TOO_MANY, sink)


def aged(folder: Path, days: float) -> None:
    """As if every file had been written so long before it was."""
    for path in folder.rglob("*"):
        then = path.stat().st_mtime - 86_400 * days
        os.utime(path, (then, then))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("sink", "folder"),
    [
        (SinkSettings(), Path("forecasts/sales")),
        (SinkSettings(kind="duckdb", address="f.duckdb"), Path("data/scoring/parts/sales")),
    ],
    ids=["parquet", "duckdb"],
)
def test_parts_of_runs_that_never_publish_go_after_a_day(
    daily_feed: Feed, promote: Callable[[Feed], Any], sink: SinkSettings, folder: Path
) -> None:
    promote(daily_feed)
    fails(daily_feed, DAYS[0], sink)
    first = names(folder)
    aged(folder, days=2)
    fails(daily_feed, DAYS[1], sink)
    (second,) = names(folder)
    assert [second] != first
    fails(daily_feed, DAYS[2], sink)
    assert second in names(folder)  # not a day old: its run may be tried again


def test_a_run_that_is_tried_again_after_days_takes_up_its_parts(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    fails(daily_feed, DAYS[0])
    aged(Path("forecasts"), days=2)
    (left,) = Path("forecasts").rglob("*.parquet")
    (part,) = score(daily_feed, DAYS[0]).manifest["parts"]
    assert part["name"] == left.name


def test_of_a_published_run_only_what_it_does_not_name_goes(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    run = score(daily_feed, DAYS[0]).manifest
    folder = Path("forecasts/sales") / run["run_key"]
    whole = names(folder)
    for name in (
        "part-00000.99.parquet",
        "part-00000.99.json",
        ".part-00000.99.parquet-abcdefgh",
        ".manifest.json-abcdefgh",
    ):
        (folder / name).write_bytes(b"x")
    aged(Path("forecasts"), days=2)
    (folder / ".part-00000.100.parquet-abcdefgh").write_bytes(b"x")
    score(daily_feed, DAYS[1])
    assert len(names(folder)) == len(whole) + 5  # somebody may be writing there
    aged(Path("forecasts"), days=2)
    score(daily_feed, DAYS[2])
    assert names(folder) == whole
    assert len(read_forecasts("sales", run["run_key"])) == run["rows"]


def test_runs_of_the_old_layout_and_files_of_others_stay(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    files = [
        Path("forecasts/sales/0123456789abcdef/forecasts.parquet"),
        Path("forecasts/sales/0123456789abcdef/manifest.json"),
        Path("forecasts/sales/fedcba9876543210/part-00000.1.parquet"),
        Path("forecasts/sales/fedcba9876543210/notes.txt"),
        Path("forecasts/sales/part-of-a-note.txt"),
    ]
    before = {"source": "sales", "run_key": "0123456789abcdef", "cutoff": "2024-01-01"}
    manifest = json.dumps(before | {"scored_at": "2024-01-02T00:00:00+00:00", "sha256": "0"})
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(manifest)
    aged(Path("forecasts"), days=20)
    score(daily_feed)
    assert [path for path in files if not path.exists()] == []


def test_manifests_are_read_of_the_few_folders_that_hold_more_than_they_should() -> None:
    part, manifest = "part-00000.1.parquet", "manifest.json"
    folders = {
        "swept": [manifest, part, "part-00001.7.parquet"],
        "receipt": [manifest, part, "part-00000.1.json"],
        "second": [manifest, part, "part-00000.2.parquet"],
        "unfinished": [manifest, part, ".part-00000.2.parquet-abcdefgh"],
        "old": [manifest, part, "part-00000.2.parquet"],
        "lost": [part],
    }
    days = dict.fromkeys(folders, 2) | {"old": 31, "lost": 31}
    for key, found in folders.items():
        Path("forecasts/demo", key).mkdir(parents=True)
        for name in found:
            Path("forecasts/demo", key, name).touch()
        then = Path("forecasts").stat().st_mtime - 86_400 * days[key]
        for path in (*Path("forecasts/demo", key).iterdir(), Path("forecasts/demo", key)):
            os.utime(path, (then, then))
    asked = []

    def find(key: str) -> dict[str, Any] | None:
        asked.append(key)
        return {"parts": [{"name": part}]} if key in published else None

    published = folders.keys() - {"lost"}
    shard_files.discard(open_storage("forecasts/demo/new"), published, find)
    assert sorted(asked) == ["lost", "receipt", "second", "unfinished"]
    for key in published:
        wanted = folders[key] if key in ("swept", "old") else [manifest, part]
        assert names(Path("forecasts/demo", key)) == sorted(wanted)
    assert not Path("forecasts/demo/lost").exists()


def test_a_damaged_manifest_of_another_run_stops_no_run(
    daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    damaged = Path(score(daily_feed, DAYS[0]).where)
    (damaged / "manifest.json").write_text("{")
    (damaged / "part-00000.99.json").write_text("{}")
    aged(damaged, days=2)
    assert score(daily_feed, DAYS[1]).fresh
    assert "part-00000.99.json" in names(damaged)
