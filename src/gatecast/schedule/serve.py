"""A resident process for people without a scheduler: it watches the clock, and children do the work.

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

from gatecast.config import Config
from gatecast.core import atomic
from gatecast.core.errors import RegistryError
from gatecast.core.ledger import Ledger
from gatecast.schedule import clock
from gatecast.schedule.slots import Timetable, stamp

HEALTH = Path("data/scoring/health.json")
# After a child that failed, or left a slot to another that may be dead.
RETRY = timedelta(minutes=5)
STOP_SECONDS = 60.0  # for a running child to end by itself, once the server is told to stop
KILL_SECONDS = 10.0  # then, for it to give back what it holds


@dataclass
class Server:
    """A resident clock.

    Args:
        config: the settings.
        command: what a tick runs.
    """

    config: Config
    command: list[str]
    stopping: bool = False
    last: dict[str, Any] | None = None
    waiting: bool = False  # was a slot due and missing at the last look?

    def run(self) -> None:
        """Tick at the start, at every slot, and a while later if one is still missing, until SIGTERM or SIGINT.

        Raises:
            ConfigError: SCHEDULE if there is no schedule.
        """
        table = Timetable.of(self.config)
        wake = now = datetime.now(UTC)
        with _on_stop(self._stop):
            while not self.stopping:
                if now < wake:
                    time.sleep(0.2)
                else:
                    well = self.tick(table)
                    retry = datetime.now(UTC) + RETRY
                    wake = table.after(now) if well else retry  # a slot may have come meanwhile
                    wake = min(wake, retry) if self.waiting else wake
                now = datetime.now(UTC)
                wake = min(wake, table.after(now))  # also where the machine's clock was set back
        self._say(table, "stopped")

    def tick(self, table: Timetable) -> bool:
        """Run the command once, and say how it went; false if it failed."""
        begin = time.monotonic()
        self._say(table, "running")
        # In a session of its own: a Ctrl-C in the terminal reaches the server only, which decides.
        child = subprocess.Popen(self.command, start_new_session=True)
        code = self._wait(child)
        self.last = {
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "exit_code": code,
            "seconds": round(time.monotonic() - begin, 1),
        }
        self._say(table, "ok" if code == 0 else "failed")
        return code == 0

    def _stop(self) -> None:
        self.stopping = True

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Exit code of a child; once the server is told to stop, the child has a while to end by itself."""
        while not self.stopping:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(timeout=0.2)
        # Each signal once: a second SIGTERM would interrupt what the first one made it give back.
        for seconds, end in ((STOP_SECONDS, child.terminate), (KILL_SECONDS, child.kill)):
            try:
                return child.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                end()
        return child.wait()

    def _say(self, table: Timetable, state: str) -> None:
        """One line for the terminal and one file for whoever asks."""
        now = datetime.now(UTC)
        health: dict[str, Any] = {
            "state": state,
            "at": now.isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "source": self.config.source,
            "last_run": self.last,
            "last_slot": None,
            "next_slot": stamp(table.after(now)),
            "lag_seconds": None,
        }
        try:
            book = Ledger()
            row = book.last(self.config.source, clock.SLOT)
            missing = clock.due(table, self.config.schedule, book, now)
            health["last_slot"] = row.facts["slot"] if row else None
            health["lag_seconds"] = round((now - missing[0]).total_seconds()) if missing else 0
            self.waiting = bool(missing)
        except RegistryError as error:  # the child says so too, and the next tick may find it again
            health["state"] = f"{state}; {error.what}"
        try:
            atomic.write_json(HEALTH, health)
        except OSError as error:  # a full disk: whoever watches the file sees that it grows old
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
    for one in before:
        signal.signal(one, lambda *_: stop())
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def command(overrides: list[str]) -> list[str]:
    """What a tick runs: the one command of every scheduler, with the overrides that the server was given."""
    return [sys.executable, "pipelines/score.py", "mode=due", *overrides]
