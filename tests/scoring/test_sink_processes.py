"""Processes that publish: killed, several at once, on a full disk, beside one that has the file open."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.core.errors import ScoringError
from gatecast.core.failpoints import DIED, LOADING
from gatecast.scoring import read_forecasts, store
from gatecast.scoring.config import SinkSettings
from gatecast.scoring.sinks import Sink
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

OF_PROCESSES = [S3, "duckdb", POSTGRES]  # beside Parquet in a folder: test_run.py

PUBLISH = textwrap.dedent("""
    import json, sys, time
    from gatecast.scoring.config import SinkSettings
    from gatecast.core.errors import ScoringError
    from gatecast.scoring import sinks
    kind, address, begin = sys.argv[1:]
    with open("manifest.json") as file:
        manifest = json.load(file)
    while time.time() < float(begin):
        time.sleep(0.01)
    try:
        sinks.sink(SinkSettings(kind=kind, address=address)).publish(manifest["source"], manifest["run_key"], manifest)
    except ScoringError as error:
        sys.exit(str(error))
""")


def start(
    recipe: SinkSettings,
    manifest: dict[str, Any],
    begin: float = 0.0,
    largest: int = -1,
    **env: str,
) -> Any:
    """Start a process that publishes a staged run at a time, and can write no file beyond a size."""
    Path("manifest.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-c", PUBLISH, recipe.kind, recipe.address, str(begin)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    return subprocess.Popen(
        command, env=os.environ | env, preexec_fn=limit, stderr=subprocess.PIPE, text=True
    )


def listed(sink: Sink) -> list[dict[str, Any] | None]:
    """The manifests, whole, of the runs that are listed."""
    return [sink.find("demo", run["run_key"]) for run in store.runs("demo", sink)]


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
@pytest.mark.parametrize("point", LOADING)
def test_a_process_killed_while_it_publishes_shows_all_or_nothing(
    recipe: SinkSettings, sink: Sink, point: str
) -> None:
    before = publish(sink, "k0", cutoff="2025-03-29")
    manifest = stage(sink, "k1", HOSTILE)
    wanted = staged_as_one(sink, manifest)
    assert start(recipe, manifest, GATECAST_FAILPOINT=point).wait(60) == DIED
    committed = point == "loading: committed"
    assert listed(sink) == ([before, manifest] if committed else [before])
    sink.publish("demo", "k1", manifest)
    assert listed(sink) == [before, manifest]
    pd.testing.assert_frame_equal(ordered(read_forecasts("demo", sink=sink)), wanted)
    assert not Path(sink.shard_address("demo", "k1")).exists()


@pytest.mark.parametrize("recipe", OF_PROCESSES, indirect=True)
def test_processes_that_publish_a_run_at_once_publish_it_once(
    recipe: SinkSettings, sink: Sink
) -> None:
    manifest = stage(sink, "k1", [f"s{k}" for k in range(500)])
    wanted = staged_as_one(sink, manifest)
    begin = time.time() + 3
    started = [start(recipe, manifest, begin) for _ in range(3)]
    assert [process.wait(90) for process in started] == [0, 0, 0]
    assert listed(sink) == [manifest]
    pd.testing.assert_frame_equal(ordered(read_forecasts("demo", sink=sink)), wanted)


@pytest.mark.parametrize("recipe", ["duckdb"], indirect=True)
def test_a_full_disk_publishes_nothing_and_loses_nothing(recipe: SinkSettings, sink: Sink) -> None:
    before = publish(sink, "k0", cutoff="2025-03-29")
    manifest = stage(sink, "k1", [f"s{k}" for k in range(3000)])
    process = start(recipe, manifest, largest=Path(recipe.address).stat().st_size + 4096)
    _, said = process.communicate(timeout=240)
    assert "ScoringError[WRITE]" in said
    assert listed(sink) == [before]
    sink.publish("demo", "k1", manifest)
    assert listed(sink) == [before, manifest]
    assert len(read_forecasts("demo", sink=sink)) == 6000


HOLD = textwrap.dedent("""
    import duckdb, sys
    with duckdb.connect(sys.argv[1]):
        print("open", flush=True)
        sys.stdin.read()
""")


@pytest.mark.parametrize("recipe", ["duckdb"], indirect=True)
def test_a_file_that_another_process_has_open_is_waited_for_then_refused(
    recipe: SinkSettings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = publish(sink, "k1")
    command, pipe = [sys.executable, "-c", HOLD, recipe.address], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        monkeypatch.setattr("gatecast.scoring.sinks.duckdb.PATIENCE", 0.2)
        for refused in (lambda: store.runs(sink=sink), lambda: publish(sink, "k2")):
            with pytest.raises(ScoringError) as caught:
                refused()
            assert caught.value.code == "BUSY"
            assert f"PID {other.pid}" in str(caught.value)
        monkeypatch.undo()
        threading.Timer(0.5, other.stdin.close).start()
        assert listed(sink) == [manifest]
    publish(sink, "k2")
    assert len(store.runs(sink=sink)) == 2
