"""A resident process for people without a scheduler: it watches the clock, and child processes do the work.

It only knows when the next slot is. What is due is the ledger's to say, so a server that was killed, doubled or late
does no harm. Every slot is scored by a child, ``python pipelines/score.py mode=due``: its memory ends with it, and its
death is a line, not the server's end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gatecast.core import atomic
from gatecast.core.errors import RegistryError
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.schedule import clock
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp

HEALTH = Path("data/scoring/health.json")
# The wait after a child that failed, or that left a slot to another process, which may be dead.
RETRY = timedelta(minutes=5)
# Seconds for a running child to end by itself after the server was stopped.
STOP_SECONDS = 60.0
# Then, seconds for it to return its leases.
KILL_SECONDS = 10.0


@dataclass
class Server:
    """A resident clock.

    Args:
        feed: the source recipe.
        schedule: when it is scored.
        command: what a tick runs.

    Attributes:
        stopping: SIGTERM or SIGINT has come.
        last: when and how the last child ended.
        waiting: a slot was due and missing when last checked.
    """

    feed: Feed
    schedule: Schedule
    command: list[str]
    stopping: bool = False
    last: dict[str, Any] | None = None
    waiting: bool = False

    def run(self) -> None:
        """Tick at the start, at every slot, and a while later if one is still missing, until SIGTERM or SIGINT.

        Raises:
            ConfigError: SCHEDULE if there is no schedule.
        """
        table = Timetable.of(self.feed, self.schedule)
        wake = now = datetime.now(UTC)
        with _on_stop(self._stop):
            while not self.stopping:
                if now < wake:
                    time.sleep(0.2)
                else:
                    succeeded = self.tick(table)
                    retry = datetime.now(UTC) + RETRY
                    # from the time before the tick: another slot may have come during it
                    wake = table.after(now) if succeeded else retry
                    wake = min(wake, retry) if self.waiting else wake
                now = datetime.now(UTC)
                # the machine's clock may have been set back
                wake = min(wake, table.after(now))
        self._report(table, "stopped")

    def tick(self, table: Timetable) -> bool:
        """Run the command and report how it ended; false if it failed."""
        begin = time.monotonic()
        self._report(table, "running")
        # In a session of its own: Ctrl-C in the terminal reaches the server only, which decides.
        child = subprocess.Popen(self.command, start_new_session=True)
        code = self._wait(child)
        self.last = {
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "exit_code": code,
            "seconds": round(time.monotonic() - begin, 1),
        }
        self._report(table, "ok" if code == 0 else "failed")
        return code == 0

    def _stop(self) -> None:
        self.stopping = True

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Exit code of a child, which has a while to end by itself after the server was stopped."""
        while not self.stopping:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(timeout=0.2)
        # One signal of each sort: a second SIGTERM would interrupt the clean-up that the first one began.
        for seconds, end in ((STOP_SECONDS, child.terminate), (KILL_SECONDS, child.kill)):
            try:
                return child.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                end()
        return child.wait()

    def _report(self, table: Timetable, state: str) -> None:
        """Print one line, and write the health file."""
        now = datetime.now(UTC)
        health: dict[str, Any] = {
            "state": state,
            "at": now.isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "source": self.feed.name,
            "last_run": self.last,
            "last_slot": None,
            "next_slot": stamp(table.after(now)),
            "lag_seconds": None,
        }
        try:
            ledger = Ledger()
            row = ledger.last(self.feed.name, clock.SLOT)
            missing = clock.due(table, self.schedule, ledger, now)
            health["last_slot"] = row.facts["slot"] if row else None
            health["lag_seconds"] = round((now - missing[0]).total_seconds()) if missing else 0
            self.waiting = bool(missing)
        # the child reports it, too, and at the next tick the ledger may answer again
        except RegistryError as error:
            health["state"] = f"{state}; {error.what}"
        try:
            atomic.write_json(HEALTH, health)
        # a full disk: a monitor of the file sees that it grows old
        except OSError as error:
            health["state"] += f"; {HEALTH} cannot be written: {error}"
        took = f" in {self.last['seconds']} s" if self.last and state in ("ok", "failed") else ""
        print(
            f"serve: {health['at'][:19]}Z {health['state']}{took}; last slot {health['last_slot']},"
            f" next {health['next_slot']}, lag {health['lag_seconds']} s",
            flush=True,
        )


@contextmanager
def _on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call a function while the block runs."""
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command(overrides: list[str]) -> list[str]:
    """What a tick runs: the command that every scheduler calls, with the server's overrides."""
    return [sys.executable, "pipelines/score.py", "mode=due", *overrides]
