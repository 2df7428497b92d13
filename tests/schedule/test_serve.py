"""The resident process: children do the work, it only says when; told to stop, it lets the running one end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gatecast.core.errors import ConfigError
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.schedule import clock, serve
from gatecast.schedule.config import Schedule
from gatecast.schedule.serve import HEALTH, Server
from gatecast.schedule.slots import Timetable

Forked = Callable[..., int]
Ended = Callable[[int], int]


def server(code: str = "", cron: str = "0 0 * * *") -> Server:
    """A server whose ticks run some Python in a child."""
    return Server(Feed(name="shop"), Schedule(cron=cron), [sys.executable, "-c", code])


def health() -> dict[str, Any]:
    return dict(json.loads(HEALTH.read_text()))


def wait_for(what: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def state_is(state: str) -> Callable[[], bool]:
    return lambda: HEALTH.is_file() and health()["state"] == state


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_ticks_at_its_start_and_stops_when_told(
    forked: Forked, ended: Ended, sent: signal.Signals
) -> None:
    child = forked(server().run)
    wait_for(state_is("ok"))
    assert health()["last_run"]["exit_code"] == 0
    assert health()["pid"] == child
    os.kill(child, sent)
    assert ended(child) == 0
    assert health()["state"] == "stopped"


@pytest.fixture
def stopped(forked: Forked, ended: Ended) -> Callable[[str], int]:
    """Tell a server to stop while its child is at work, which has touched ``begun``; the child's exit status."""

    def stop(code: str) -> int:
        child = forked(server(code).run)
        wait_for(Path("begun").exists)
        os.kill(child, signal.SIGTERM)
        assert ended(child) == 0
        return int(health()["last_run"]["exit_code"])

    return stop


def test_a_running_child_may_end(stopped: Callable[[str], int]) -> None:
    code = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(2); pathlib.Path('ended').touch()"
    assert stopped(code) == 0
    assert Path("ended").exists()


def test_a_child_that_is_told_to_end_may_give_back_what_it_holds(
    stopped: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(serve, "KILL_SECONDS", 120)
    code = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "try: pathlib.Path('begun').touch(); time.sleep(600)\n"
        "finally: time.sleep(1); pathlib.Path('given back').touch()"
    )
    assert stopped(code) == 143
    assert Path("given back").exists()


def test_a_child_that_does_not_end_is_ended(
    stopped: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STOP_SECONDS", 0.5)
    monkeypatch.setattr(serve, "KILL_SECONDS", 0.1)
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path('begun').touch(); time.sleep(600)"
    )
    assert stopped(code) == -signal.SIGKILL


def test_a_child_that_fails_is_tried_again_and_ends_no_server(
    forked: Forked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "RETRY", timedelta(seconds=0.2))
    code = (
        "import os, pathlib; mark = pathlib.Path('failed');\n"
        "if not mark.exists(): mark.touch(); os.abort()"
    )
    child = forked(server(code).run)
    wait_for(state_is("ok"))
    assert Path("failed").exists()
    os.kill(child, signal.SIGTERM)
    assert ended(child) == 0


def test_a_slot_that_was_left_to_a_server_that_died_is_asked_for_again(
    forked: Forked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that finds the clock's lease held ends well, with the slot still missing."""
    monkeypatch.setattr(serve, "RETRY", timedelta(seconds=0.2))
    slot = f"{datetime.now(UTC).year}-01-01T00:00Z"
    code = (
        "import pathlib; from gatecast.core.ledger import Ledger; mark = pathlib.Path('left')\n"
        f"if mark.exists(): Ledger().append('slot', 'shop', {{'slot': '{slot}'}}, key='slot/shop/{slot}')\n"
        "mark.touch()"
    )
    one = server(code, cron="0 0 1 jan *")
    one.schedule.window = "400D"
    child = forked(one.run)
    wait_for(lambda: state_is("ok")() and health()["last_slot"] == slot)
    os.kill(child, signal.SIGTERM)
    assert ended(child) == 0
    assert health()["lag_seconds"] == 0


def test_it_ticks_at_every_slot(
    forked: Forked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = timedelta(seconds=0.3)  # slots of a schedule are a minute apart at least
    monkeypatch.setattr(Timetable, "after", lambda _, moment: moment + soon)
    child = forked(server("print(file=open('ticks', 'a'))").run)
    wait_for(lambda: Path("ticks").exists() and len(Path("ticks").read_text()) >= 3)
    os.kill(child, signal.SIGTERM)
    assert ended(child) == 0


def test_the_lag_is_the_age_of_the_slot_that_is_missing() -> None:
    one = server(cron="0 0 1 jan *")
    table = Timetable.of(one.feed, one.schedule)
    one.schedule.window = "400D"
    assert one.tick(table)
    newest = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)
    assert health()["lag_seconds"] == pytest.approx(
        (datetime.now(UTC) - newest).total_seconds(), abs=300
    )
    facts = {"slot": f"{newest:%Y-%m-%dT%H:%M}Z"}
    Ledger().append(clock.SLOT, "shop", facts, key=table.key(newest))
    assert one.tick(table)
    assert (health()["lag_seconds"], health()["last_slot"]) == (0, facts["slot"])
    assert health()["next_slot"] == f"{newest.year + 1}-01-01T00:00Z"


def test_a_ledger_that_does_not_answer_is_said_so_and_lived_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = server()
    monkeypatch.setenv("GATECAST_LEDGER_URI", "sqlite:////nowhere/ledger.db")
    assert one.tick(Timetable.of(one.feed, one.schedule))
    assert "the ledger does not answer" in health()["state"]
    assert "the ledger does not answer" in capsys.readouterr().out


def test_a_health_file_that_cannot_be_written_ends_no_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("data").write_text("a file in the way")
    one = server()
    assert one.tick(Timetable.of(one.feed, one.schedule))
    assert "health.json cannot be written" in capsys.readouterr().out


def test_without_a_schedule_it_does_not_start() -> None:
    one = server()
    one.schedule.cron = None
    with pytest.raises(ConfigError, match=r"schedule\.cron"):
        one.run()


def test_the_process_that_stays_brings_no_torch_and_no_mlflow() -> None:
    code = "import sys, gatecast.schedule.serve; print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
