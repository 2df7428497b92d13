"""Every sink keeps the same promises: what was published is what is read, whole, once, whatever comes in between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import ScoringError
from gatecast.data.config import DemoFeed, Task
from gatecast.reports import lineage, status
from gatecast.scoring import read_forecasts, sinks, store
from gatecast.scoring.config import SinkSettings
from gatecast.scoring.sinks import DETAIL, Sink, facts
from tests.scoring.staging import (
    DATABASES,
    HOSTILE,
    POSTGRES,
    S3,
    ordered,
    publish,
    stage,
    staged_as_one,
)
from tests.servers import execute

ROOT = Path(__file__).resolve().parents[2]
EVERY = ["parquet", "memory", "file", S3, "duckdb", POSTGRES]

DEMO = DemoFeed(name="demo", kind="demo", task=Task(horizon=24))


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
@pytest.mark.parametrize(
    "shape",
    [{}, {"zone": "Europe/Berlin"}, {"event": True}, {"ids": HOSTILE}],
    ids=["naive", "zone", "event", "hostile"],
)
def test_what_was_published_is_what_is_read(sink: Sink, shape: dict[str, Any]) -> None:
    manifest = stage(sink, "k1", **shape)
    wanted = staged_as_one(sink, manifest)
    sink.publish("demo", "k1", manifest)
    pd.testing.assert_frame_equal(ordered(read_forecasts("demo", "k1", sink)), wanted)
    assert set(wanted["unique_id"]) == set(shape.get("ids", ["a", "b"]))
    assert store.runs("demo", sink) == [facts(manifest)]
    assert sink.find("demo", "k1") == manifest


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_a_list_of_runs_holds_what_does_not_grow_with_the_series(sink: Sink) -> None:
    manifest = publish(sink, "k1")
    (listed,) = sink.manifests("demo")
    assert manifest.keys() - listed.keys() == set(DETAIL)
    assert sink.find("demo", "k1") == manifest
    pd.testing.assert_frame_equal(sink.read(listed), sink.read(manifest))
    pieces = [pd.concat(sink.pieces(m, ["unique_id", "step"])) for m in (listed, manifest)]
    pd.testing.assert_frame_equal(*pieces)


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_what_grows_with_the_series_lies_in_a_column_of_its_own(
    recipe: SinkSettings, sink: Sink
) -> None:
    manifest = publish(sink, "k1")
    query = "SELECT CAST(manifest AS text), CAST(detail AS text) FROM gatecast_runs"
    ((kept, detail),) = execute(recipe.address, query)
    assert json.loads(kept) == facts(manifest)
    assert json.loads(detail)["parts"] == manifest["parts"]


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_columns_of_a_run_are_read_some_whole_series_at_a_time(sink: Sink) -> None:
    manifest = publish(sink, "k1", ids=HOSTILE, zone="Europe/Berlin")
    columns = ["unique_id", "cutoff", "step", "fallback", "gatecast"]
    pieces = list(sink.pieces(manifest, columns))
    assert all((piece.groupby("unique_id").size() == 2).all() for piece in pieces)
    wanted = ordered(sink.read(manifest))[columns]
    pd.testing.assert_frame_equal(ordered(pd.concat(pieces)), wanted)


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_runs_of_all_shapes_lie_beside_each_other(sink: Sink) -> None:
    publish(sink, "naive")
    publish(sink, "berlin", zone="Europe/Berlin", source="berlin")
    publish(sink, "storms", event=True, source="storms", cutoff="2025-03-29")
    assert {m["run_key"] for m in store.runs(sink=sink)} == {"naive", "berlin", "storms"}
    assert [m["run_key"] for m in store.runs("storms", sink)] == ["storms"]
    storms = read_forecasts("storms", sink=sink, kind="event")
    assert set(storms["event"]) == {"above 1"}
    assert "probability" in storms
    assert "probability" not in read_forecasts("demo", sink=sink)
    assert str(read_forecasts("berlin", sink=sink)["ds"].dt.tz) == "Europe/Berlin"
    assert read_forecasts("demo", sink=sink)["ds"].dt.tz is None


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_nothing_is_there_before_it_is_published(sink: Sink) -> None:
    assert store.runs(sink=sink) == []
    stage(sink, "k1")
    assert store.runs(sink=sink) == []
    assert sink.find("demo", "k1") is None
    with pytest.raises(ScoringError) as caught:
        read_forecasts(sink=sink)
    assert caught.value.code == "NO-FORECASTS"


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_ten_reruns_are_one_run(sink: Sink) -> None:
    manifest = publish(sink, "k1", scored_at="2025-03-31T00:00:00+00:00")
    first = read_forecasts("demo", sink=sink)
    for _ in range(9):
        again = stage(sink, "k1", scored_at="2025-03-31T00:00:00+00:00")
        assert again == manifest  # byte for byte, by the sha256 of each part
        sink.publish("demo", "k1", again)
    assert store.runs("demo", sink) == [facts(manifest)]
    pd.testing.assert_frame_equal(read_forecasts("demo", sink=sink), first)


@pytest.mark.parametrize("recipe", EVERY, indirect=True)
def test_a_correction_is_a_revision_beside_the_first(sink: Sink) -> None:
    publish(sink, "k1", seed=1)
    first = read_forecasts("demo", sink=sink)
    at = "2025-04-01T00:00:00+00:00"
    publish(sink, "k2", seed=2, revision=2, scored_at=at)
    assert set(read_forecasts("demo", sink=sink)["run_key"]) == {"k2"}
    pd.testing.assert_frame_equal(read_forecasts("demo", "k1", sink), first)


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_staged_parts_go_once_they_are_published(sink: Sink) -> None:
    publish(sink, "k1")
    assert not Path(sink.shard_address("demo", "k1")).exists()
    stage(sink, "k1")  # what a process leaves that dies after its commit
    stage(sink, "k2")
    publish(sink, "k3")
    assert [p.name for p in Path("data/scoring/parts/demo").iterdir()] == ["k2"]


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_a_staged_part_that_changed_is_refused(sink: Sink) -> None:
    manifest = stage(sink, "k1")
    part = Path(sink.shard_address("demo", "k1")) / manifest["parts"][1]["name"]
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ScoringError) as caught:
        sink.publish("demo", "k1", manifest)
    assert caught.value.code == "CORRUPT"
    part.unlink()
    with pytest.raises(ScoringError) as caught:
        sink.publish("demo", "k1", manifest)
    assert caught.value.code == "CORRUPT"
    assert store.runs(sink=sink) == []


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
@pytest.mark.parametrize(
    "table",
    ["gatecast_forecasts (unique_id integer)", "gatecast_runs (source text, run_key text)"],
)
def test_a_table_of_another_shape_is_refused(recipe: SinkSettings, sink: Sink, table: str) -> None:
    execute(recipe.address, f"CREATE TABLE {table}")
    with pytest.raises(ScoringError) as caught:
        publish(sink, "k1")
    assert caught.value.code == "SCHEMA"
    assert table.split()[0] in str(caught.value)
    if table.startswith("gatecast_runs"):
        with pytest.raises(ScoringError) as caught:
            sink.find("demo", "k1")
        assert caught.value.code == "SCHEMA"
    execute(recipe.address, f"DROP TABLE {table.split()[0]}")
    publish(sink, "k1")  # nothing else was left behind that is in the way
    assert len(store.runs("demo", sink)) == 1


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_rows_without_their_run_are_not_read_and_not_doubled(
    recipe: SinkSettings, sink: Sink
) -> None:
    manifest = publish(sink, "k1")
    execute(recipe.address, "DELETE FROM gatecast_runs")
    assert store.runs("demo", sink) == []
    with pytest.raises(ScoringError) as caught:
        sink.read(manifest)
    assert caught.value.code == "CORRUPT"
    publish(sink, "k1")
    assert len(read_forecasts("demo", sink=sink)) == manifest["rows"]


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_rows_that_somebody_took_away_are_missed(recipe: SinkSettings, sink: Sink) -> None:
    publish(sink, "k1")
    execute(recipe.address, "DELETE FROM gatecast_forecasts WHERE unique_id = 'a' AND step = 2")
    with pytest.raises(ScoringError) as caught:
        read_forecasts("demo", sink=sink)
    assert caught.value.code == "CORRUPT"


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_sql_sees_times_as_instants_and_quantiles_by_name(recipe: SinkSettings, sink: Sink) -> None:
    publish(sink, "k1", zone="Europe/Berlin")
    query = """SELECT CAST(min(f.ds) AS text), count(f."gatecast-lo-95"), min(r.timezone) FROM gatecast_forecasts f
        JOIN gatecast_runs r USING (source, run_key) WHERE r.cutoff = '2025-03-30'"""
    zone = "SET TimeZone = 'UTC'"
    ((first, rows, name),) = execute(recipe.address, zone, query)
    assert (first, rows, name) == ("2025-03-31 00:00:00+00", 4, "Europe/Berlin")


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_what_reads_forecasts_reads_them_from_the_sink(
    sink: Sink, recipe: SinkSettings, empty_store: Path
) -> None:
    shutil.copy(empty_store, "mlflow.db")
    publish(sink, "k1")
    assert len(read_forecasts("demo", sink=recipe.address)) == 4
    where = sink.where("demo", "k1")
    last = "1 runs; last 2025-03-31T00:00:00: 2 series from 2025-03-30 by v1"
    assert f"{last} -> {where}\n" in status.report(DEMO, recipe=recipe)
    used = {1: f"forecasts {where} are of 2025-03-31"}
    assert lineage.recently_used("demo", 10_000, sink) == used


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_the_sql_of_the_docs_finds_the_last_revision(recipe: SinkSettings, sink: Sink) -> None:
    publish(sink, "old", cutoff="2025-03-29")
    publish(sink, "wrong", seed=1)
    publish(sink, "right", ["a", "site-007"], seed=2, revision=2)
    publish(sink, "storms", ["a", "site-007"], event=True, revision=3)
    page = (ROOT / "docs/sinks.md").read_text(encoding="utf-8")
    title = {"duckdb": "### DuckDB", "postgres": "### PostgreSQL"}[recipe.kind]
    query = page.partition(title)[2].partition("```sql\n")[2].partition("```")[0]
    wanted = ordered(read_forecasts("demo", "right", sink))
    chosen = "step == 1" if recipe.kind == "duckdb" else "unique_id == 'site-007'"
    found = [row[-4:] for row in execute(recipe.address, query)]
    names = ["gatecast", "gatecast-lo-95", "gatecast-hi-95"]
    rows = wanted.query(chosen)[names].astype("float32").itertuples(index=False)
    assert [tuple(map(np.float32, row[:3])) for row in found] == [tuple(row) for row in rows]
    assert {row[3] for row in found} == {"lstm"}
    assert len(found) == 2


@pytest.mark.parametrize("recipe", ["duckdb"], indirect=True)
def test_a_file_of_something_else_is_refused(recipe: SinkSettings, sink: Sink) -> None:
    Path(recipe.address).write_text("text" * 9999)
    with pytest.raises(ScoringError) as caught:
        store.runs(sink=sink)
    assert caught.value.code == "READ"
    with pytest.raises(ScoringError) as caught:
        publish(sink, "k1")
    assert caught.value.code == "WRITE"
    assert Path(recipe.address).read_text() == "text" * 9999


@pytest.mark.parametrize(
    "address", ["postgresql://me:secret@[::1", "postgresql://me:secret@h/d?x=y"]
)
def test_what_is_secret_in_an_address_is_not_shown(address: str) -> None:
    with pytest.raises(ScoringError) as caught:
        store.runs(sink=address)
    assert caught.value.code == "ADDRESS"
    assert "secret" not in str(caught.value)
    where = sinks.at("postgresql+psycopg://me:secret@host/base").where("demo", "k1")
    assert where == "postgresql://host:5432/base, run k1 of demo"


def test_a_store_that_does_not_answer_is_a_coded_error(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "memory://that-fails/forecasts"
    publish(sinks.at(address), "k1")

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no credentials")  # as botocore's are: no OSError

    for method in ("cat_file", "glob", "ls", "pipe_file"):
        monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{method}", refuse)
    for refused in (
        lambda: store.runs(sink=address),
        lambda: sinks.at(address).find("demo", "k1"),
        lambda: publish(sinks.at(address), "k2"),
    ):
        with pytest.raises(ScoringError) as caught:
            refused()
        assert caught.value.code == "UNREACHABLE"
    monkeypatch.undo()
    assert [run["run_key"] for run in store.runs(sink=address)] == ["k1"]


@pytest.mark.parametrize("recipe", [POSTGRES], indirect=True)
def test_a_process_that_holds_a_run_without_end_is_named_not_waited_for_without_end(
    recipe: SinkSettings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    publish(sink, "k1")
    manifest = stage(sink, "k2")
    claim = "INSERT INTO gatecast_runs (source, run_key, manifest) VALUES ('demo', 'k2', '{}')"
    with psycopg.connect(recipe.address.replace("+psycopg", "")) as sleeper:
        sleeper.execute(claim)
        monkeypatch.setattr("gatecast.scoring.sinks.postgres.PATIENCE", 1)
        with pytest.raises(ScoringError) as caught:
            sink.publish("demo", "k2", manifest)
        assert caught.value.code == "BUSY"
        sleeper.rollback()
    sink.publish("demo", "k2", manifest)
    assert sink.find("demo", "k2") == manifest


@pytest.mark.parametrize("recipe", [POSTGRES], indirect=True)
def test_a_table_that_is_read_while_it_needs_a_column_is_named_with_the_statement(
    recipe: SinkSettings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    publish(sink, "k1")
    execute(recipe.address, "ALTER TABLE gatecast_forecasts DROP COLUMN event", "SELECT 1")
    manifest = stage(sink, "k2", event=True)
    monkeypatch.setattr("gatecast.scoring.sinks.postgres._ALTER", 1)
    with psycopg.connect(recipe.address.replace("+psycopg", "")) as reader:
        reader.execute("SELECT count(*) FROM gatecast_forecasts")
        with pytest.raises(ScoringError, match=r"BUSY.*in use") as caught:
            sink.publish("demo", "k2", manifest)
        assert "ALTER TABLE gatecast_forecasts ADD COLUMN" in caught.value.fix
    sink.publish("demo", "k2", manifest)
    assert sink.find("demo", "k2") == manifest
