"""The index of published runs is a cache: readers see exactly what is published, whatever becomes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatecast.core import failpoints
from gatecast.core.errors import ScoringError
from gatecast.data.config import Feed
from gatecast.scoring import read_forecasts, storage, store
from gatecast.scoring.run import score
from gatecast.scoring.sinks import Sink
from gatecast.scoring.storage import Storage, open_storage
from tests.scoring.staging import S3, publish, stage

FILES = ["parquet", "memory", S3]


def bare(sink: Sink, *keys: str) -> None:
    """Publish runs without parts."""
    for key in keys:
        at = f"2025-01-01T00:00:00.{key}"
        run = {"source": "demo", "run_key": key, "scored_at": at, "parts": [{"name": "p"}] * 9}
        sink.publish("demo", key, run)


def root(sink: Sink) -> Storage:
    return open_storage(sink.where("demo", "").rstrip("/"))


def keys(sink: Sink) -> list[str]:
    return [run["run_key"] for run in store.runs("demo", sink)]


def index(sink: Sink) -> dict[str, Any]:
    return dict(json.loads(root(sink).read("index.json") or b""))


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def forgetful(data: bytes) -> bytes:
    """As another publisher leaves it, who began before the last run was published."""
    return json.dumps({k: v for k, v in json.loads(data).items() if k != "k2"}).encode()


def stale(data: bytes) -> bytes:
    """As it is when somebody has deleted a run's folder."""
    run = {"source": "demo", "run_key": "gone", "scored_at": "2025-01-01"}
    return json.dumps(json.loads(data) | {"gone": run}).encode()


@pytest.mark.parametrize("recipe", FILES, indirect=True)
@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        forgetful,
        stale,
        lambda _: b"",
        lambda _: b"\xff\x00\xfe",
        lambda _: b'["k1", "k2"]',
        lambda _: b'{"k1": 1, "k2": {"run_key": "k2"}}',
        None,
    ],
    ids=["truncated", "forgetful", "stale", "empty", "binary", "list", "shapeless", "deleted"],
)
def test_readers_see_what_is_published_whatever_the_index_says(
    sink: Sink, damage: Callable[[bytes], bytes] | None
) -> None:
    bare(sink, "k1", "k2")
    folder, before = root(sink), store.runs(sink=sink)
    if damage:
        folder.write("index.json", damage(folder.read("index.json") or b""))
    else:
        folder.remove("index.json")
    assert store.runs(sink=sink) == before
    assert [run["run_key"] for run in before] == ["k1", "k2"]
    bare(sink, "k3")
    assert keys(sink) == list(index(sink)) == ["k1", "k2", "k3"]


@pytest.mark.parametrize("recipe", FILES, indirect=True)
def test_reads_of_a_list_do_not_grow_with_the_runs(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: Storage, *given: str) -> Any:
            read.append(" ".join([name, *given]))
            return method(self, *given)

        return count

    for kind in (storage.Folder, storage.Remote):
        for name in ("read", "folders", "names"):
            monkeypatch.setattr(kind, name, counted(name, getattr(kind, name)))
    bare(sink, *(f"k{number:02d}" for number in range(30)))
    assert sum("manifest.json" in said for said in read) == 30  # each run once, by who published it
    read.clear()
    assert len(keys(sink)) == 30
    assert sorted(read) == ["folders demo", "read demo/index.json"]


@pytest.mark.parametrize("recipe", FILES, indirect=True)
def test_what_is_hidden_and_what_is_a_file_is_no_run(sink: Sink) -> None:
    bare(sink, "k1")
    data = root(sink).read("k1/manifest.json") or b""
    for name in (".k2/manifest.json", "manifest.json", ".index.json-abcdefgh", "notes.txt"):
        root(sink).write(name, data)
    assert root(sink).folders() == keys(sink) == ["k1"]
    assert root(sink).folders("k1") == root(sink).folders("notes.txt") == []
    assert root(sink).folders("nowhere") == []


@pytest.mark.parametrize("recipe", ["parquet", "memory"], indirect=True)
def test_a_run_is_published_even_if_the_index_cannot_be_written(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    written = MemoryFileSystem.pipe_file

    def refuse(self: Any, path: str, *given: Any, **named: Any) -> None:
        if path.endswith("index.json"):
            raise RuntimeError("the bucket's policy says no")
        written(self, path, *given, **named)

    Path(sink.where("demo", "index.json")).mkdir(parents=True)  # in the way, if this is a folder
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    manifest = publish(sink, "k1")
    assert keys(sink) == ["k1"]
    assert sink.find("demo", "k1") == manifest
    assert len(read_forecasts("demo", sink=sink)) == manifest["rows"]


@pytest.mark.parametrize("recipe", FILES, indirect=True)
def test_a_run_without_its_manifest_is_corrupt_until_it_is_made_anew(sink: Sink) -> None:
    manifest = publish(sink, "k1")
    (listed,) = sink.manifests("demo")
    root(sink).remove("k1/manifest.json")
    assert sink.find("demo", "k1") is None
    for read in (sink.read, lambda run: list(sink.pieces(run, ["step"]))):
        with pytest.raises(ScoringError) as caught:
            read(listed)
        assert caught.value.code == "CORRUPT"
        assert "k1/manifest.json" in str(caught.value)
    sink.forget("demo", "k1")
    assert keys(sink) == []
    stage(sink, "k1")
    assert keys(sink) == []
    sink.publish("demo", "k1", manifest | {"version": 2})
    assert [run["version"] for run in store.runs("demo", sink)] == [2]


@pytest.mark.parametrize("recipe", FILES, indirect=True)
def test_what_the_index_says_of_a_run_is_what_its_manifest_says(sink: Sink) -> None:
    manifest = publish(sink, "k1")
    root(sink).remove("k1/manifest.json")
    sink.publish("demo", "k1", manifest | {"version": 2})  # and nobody forgot the first
    assert [run["version"] for run in store.runs("demo", sink)] == [2]


@pytest.mark.parametrize("gone", ["", "manifest.json"], ids=["folder", "manifest"])
def test_a_deleted_run_is_not_listed_while_it_is_made_anew(
    daily_feed: Feed,
    promote: Callable[[Feed], Any],
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
) -> None:
    promote(daily_feed)
    first = score(daily_feed)
    path = Path(first.where, gone)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    seen: list[int] = []
    reach = {"scoring: parts complete": lambda: seen.append(len(store.runs("sales")))}
    monkeypatch.setattr(failpoints, "reach", lambda at: reach.get(at, int)())
    again = score(daily_feed)
    assert seen == [0]
    assert again.fresh
    assert again.manifest["revision"] == 1
    assert set(read_forecasts("sales")["run_key"]) == {first.manifest["run_key"]}


@pytest.mark.parametrize("recipe", FILES, indirect=True)
@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_manifest_is_refused(sink: Sink, manifest: bytes) -> None:
    bare(sink, "k1")
    root(sink).write("k1/manifest.json", manifest)
    with pytest.raises(ScoringError, match=r"manifest\.json") as caught:
        sink.find("demo", "k1")
    assert caught.value.code == "CORRUPT"
