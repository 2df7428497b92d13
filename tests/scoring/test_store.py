"""The store of forecasts: whole runs or nothing, and what was published is what is read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gatecast.core.errors import ScoringError
from gatecast.scoring import config, read_forecasts, sinks, store
from gatecast.scoring.sinks import Sink
from tests.scoring.staging import HOSTILE

Publish = Callable[..., Sink]


def table(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": pd.Series(ids, dtype="str"), "step": 1, "gatecast": 1.0})


@pytest.mark.parametrize("address", ["forecasts", "memory://what-is-read/forecasts"])
def test_what_was_published_is_what_is_read(publish: Publish, address: str) -> None:
    sink = publish("k1", table(["a", "b"]), sinks.sink(config.SinkSettings(address=address)))
    pd.testing.assert_frame_equal(
        read_forecasts("demo", sink=sink), table(["a", "b"]).astype({"step": "int64"})
    )
    assert [m["run_key"] for m in store.runs("demo", sink)] == ["k1"]
    assert store.runs("other", sink) == []


def test_forecasts_are_read_from_any_folder(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook need not lie in the project folder; an address that is not relative stays as it is."""
    root = Path.cwd()
    publish("k1", table(["a", "b"]))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    with pytest.raises(ScoringError, match="NO-FORECASTS"):
        read_forecasts("demo")
    assert list(read_forecasts("demo", root=root)["unique_id"]) == ["a", "b"]
    assert [m["run_key"] for m in store.runs(root=str(root))] == ["k1"]
    absolute = str(root / "forecasts")
    assert len(read_forecasts("demo", sink=absolute, root="elsewhere")) == 2
    assert store.runs(sink="memory://nothing/forecasts", root=root) == []


def test_hostile_series_ids_come_back_unchanged(publish: Publish) -> None:
    publish("k1", table(HOSTILE))
    assert list(read_forecasts("demo")["unique_id"]) == HOSTILE
    assert {p.name for p in Path("forecasts").rglob("*") if p.is_file()} == {
        "part-00000.1.parquet",
        "manifest.json",
        "index.json",
    }


def test_the_later_of_two_equal_local_times_is_read_when_clocks_go_back(publish: Publish) -> None:
    publish("k1", table(["summer"]), cutoff="2024-10-27 02:00:00+02:00")
    publish("k2", table(["winter"]), cutoff="2024-10-27 02:00:00+01:00")
    publish("k3", table(["before"]), cutoff="2024-10-27 01:00:00+02:00")
    assert list(read_forecasts("demo")["unique_id"]) == ["winter"]


def test_a_backfill_or_a_hindcast_does_not_stand_in_for_the_live_run(publish: Publish) -> None:
    publish("k1", table(["live"]), kind="live", revision=1)
    publish("k2", table(["backfill"]), kind="backfill", revision=2)
    publish("k3", table(["hindcast"]), kind="hindcast", revision=3)
    assert list(read_forecasts("demo")["unique_id"]) == ["live"]
    publish("k4", table(["corrected"]), kind="live", revision=4)
    assert list(read_forecasts("demo")["unique_id"]) == ["corrected"]
    publish("k5", table(["played"]), kind="backfill", revision=1, cutoff="2025-01-02")
    assert list(read_forecasts("demo")["unique_id"]) == ["played"]


def test_the_newest_run_is_read_unless_one_is_named(publish: Publish) -> None:
    publish("k1", table(["old"]), scored_at="2025-01-01T00:00:00+00:00")
    publish("k2", table(["new"]), scored_at="2025-01-02T00:00:00+00:00")
    assert list(read_forecasts("demo")["unique_id"]) == ["new"]
    assert list(read_forecasts("demo", "k1")["unique_id"]) == ["old"]


def test_several_sources_must_be_named(publish: Publish) -> None:
    publish("k1", table(["a"]))
    publish("k2", table(["a"]), source="other")
    with pytest.raises(ScoringError) as caught:
        read_forecasts()
    assert caught.value.code == "SOURCE"


@pytest.mark.parametrize("address", ["forecasts", "memory://never-overwritten/forecasts"])
def test_a_run_is_never_overwritten(publish: Publish, address: str) -> None:
    sink = sinks.sink(config.SinkSettings(address=address))
    publish("k1", table(["a"]), sink, by="first")
    sink.publish("demo", "k1", {"by": "second", "parts": []})
    (manifest,) = sink.manifests("demo")
    assert manifest["by"] == "first"


def test_a_changed_part_is_refused(publish: Publish) -> None:
    publish("k1", table(["a"]))
    table(["b"]).to_parquet("forecasts/demo/k1/part-00000.1.parquet")
    with pytest.raises(ScoringError) as caught:
        read_forecasts("demo")
    assert caught.value.code == "CORRUPT"


def test_parts_without_a_manifest_are_not_read(publish: Publish) -> None:
    sink = publish("k1", table(["a"]))
    Path("forecasts/demo/k1/manifest.json").unlink()
    assert sink.find("demo", "k1") is None
    for key, code in ((None, "CORRUPT"), ("k1", "NO-FORECASTS")):
        with pytest.raises(ScoringError) as caught:
            read_forecasts("demo", key)
        assert caught.value.code == code


def test_a_run_whose_folder_somebody_deleted_is_not_listed(publish: Publish) -> None:
    publish("k1", table(["a"]))
    publish("k2", table(["b"]))
    shutil.rmtree("forecasts/demo/k2")
    assert [m["run_key"] for m in store.runs("demo")] == ["k1"]
    assert list(read_forecasts("demo")["unique_id"]) == ["a"]
    shutil.rmtree("forecasts/demo/k1")
    assert store.runs() == []
    with pytest.raises(ScoringError) as caught:
        read_forecasts("demo")
    assert caught.value.code == "NO-FORECASTS"


def test_a_run_published_before_there_were_parts_is_read() -> None:
    folder = Path("forecasts/demo/k0")
    folder.mkdir(parents=True)
    table(["a"]).to_parquet(folder / "forecasts.parquet", index=False)
    digest = hashlib.sha256((folder / "forecasts.parquet").read_bytes()).hexdigest()
    manifest = {"source": "demo", "run_key": "k0", "scored_at": "2025-01-01", "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert list(read_forecasts("demo")["unique_id"]) == ["a"]


def test_the_latest_cutoff_is_read_even_if_an_older_day_was_played_since(publish: Publish) -> None:
    publish("k1", table(["today"]), cutoff="2025-04-10")
    at = "2025-01-02T00:00:00+00:00"
    publish("k2", table(["played"]), cutoff="2025-04-08", scored_at=at)
    assert list(read_forecasts("demo")["unique_id"]) == ["today"]


def test_a_folder_that_cannot_be_written_is_said_so(project: Path, publish: Publish) -> None:
    (project / "forecasts").write_text("a file in the way")
    with pytest.raises(ScoringError) as caught:
        publish("k1", table(["a"]))
    assert caught.value.code == "WRITE"
