"""Scoring on a schedule as a user runs it: resident servers, and past slots."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatecast.core.ledger import Ledger
from gatecast.scoring import config, sinks

pytestmark = pytest.mark.slow


@pytest.fixture
def place(belt: Any, tmp_path: Path) -> tuple[Any, Path]:
    """The belt, and a folder for a ledger and forecasts of one's own."""
    return belt, tmp_path


def published(folder: Path) -> list[dict[str, Any]]:
    return sinks.sink(config.SinkSettings(address=str(folder / "forecasts"))).manifests("demo")


def wait_for(what: Callable[[], Any], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def test_two_servers_score_a_slot_once_and_stop_when_told(place: tuple[Any, Path]) -> None:
    belt, folder = place
    env = belt.environment(GATECAST_LEDGER_URI=f"sqlite:///{folder}/ledger.db")
    log = [folder / "first.log", folder / "second.log"]
    # Every midnight, so that no other slot comes while this runs.
    command = [
        "python",
        "pipelines/serve.py",
        'schedule.cron="0 0 * * *"',
        f"storage.address={folder}/forecasts",
    ]
    servers = []
    for file in log:
        with open(file, "w") as out:
            servers.append(
                subprocess.Popen(command, cwd=belt.path, env=env, stdout=out, stderr=out)
            )
    try:
        wait_for(lambda: all(" ok in " in file.read_text() for file in log))
    finally:
        for one in servers:
            one.send_signal(signal.SIGTERM)
        ended = [one.wait(120) for one in servers]
    said = [file.read_text() for file in log]
    assert ended == [0, 0], said
    midnight = f"{datetime.now(UTC):%Y-%m-%d}T00:00Z"
    (row,) = Ledger(f"sqlite:///{folder}/ledger.db").entries("slot", "demo")
    (run,) = published(folder)
    assert row.facts["slot"] == midnight, said
    assert row.facts["run_key"] == run["run_key"]
    assert run["cutoff"].startswith(f"{midnight[:10]} 00:00")
    assert "".join(said).count(f"slot {midnight}: 12 series") == 1
    assert all("stopped; last slot" in text for text in said)
    health = belt.path / "data/scoring/health.json"
    assert json.loads(health.read_text())["lag_seconds"] == 0
    health.unlink()


def test_a_span_is_backfilled_from_the_command_line(place: tuple[Any, Path]) -> None:
    belt, folder = place
    command = [
        "python", "pipelines/score.py", "mode=backfill", "from=2025-02-05", "to=2025-02-06", "hindcast=true",
        f"storage.address={folder}/forecasts",
    ]  # fmt: skip
    done = belt.run(*command, GATECAST_LEDGER_URI=f"sqlite:///{folder}/ledger.db")
    assert "hindcast of 2 slots, 2025-02-05T00:00Z to 2025-02-06T00:00Z: 2 scored" in done.stdout
    assert Counter((m["as_of"], m["kind"]) for m in published(folder)) == {
        ("2025-02-05T00:00", "hindcast"): 1,
        ("2025-02-06T00:00", "hindcast"): 1,
    }
