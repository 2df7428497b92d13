"""A resident process for people without a scheduler: it watches the clock, and children do the work.

APScheduler only wakes it. What is due is the ledger's to say, so a server that was killed, doubled or late does no
harm. Every slot is scored by a child, ``python pipelines/score.py mode=due``: its memory ends with it, and its death is
a line, not the server's end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gatecast import atomic
from gatecast.config import Config
from gatecast.errors import RegistryError
from gatecast.ledger import Ledger
from gatecast.scoring import clock
from gatecast.scoring.slots import Timetable, stamp

HEALTH = Path("data/scoring/health.json")
RETRY = timedelta(minutes=5)  # after a child that failed
STOP_SECONDS = 60.0  # for a running child to end by itself, once the server is told to stop


@dataclass
class Server:
    """A resident clock.

    Args:
        config: the settings.
        command: what a tick runs.
    """

    config: Config
    command: list[str]
    stopping: threading.Event = field(default_factory=threading.Event)
    last: dict[str, Any] | None = None

    def run(self) -> None:
        """Tick at every slot, at the start, and a while after a failure, until SIGTERM or SIGINT.

        Raises:
            ConfigError: SCHEDULE if there is no schedule.
        """
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.cron import CronTrigger

        table = Timetable.of(self.config)
        trigger = CronTrigger.from_crontab(table.cron, timezone=table.zone)
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": {"type": "threadpool", "max_workers": 1}},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
        )

        def tick() -> None:
            if not self.tick(table):
                again = datetime.now(UTC) + RETRY
                scheduler.add_job(tick, "date", run_date=again, id="again", replace_existing=True)

        with _told_to_stop(self.stopping):
            scheduler.add_job(tick, trigger, id="slots", next_run_time=datetime.now(UTC))
            scheduler.start()
            while not self.stopping.wait(1.0):
                pass
            scheduler.shutdown(wait=True)
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

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Exit code of a child; once the server is told to stop, the child has a while to end by itself."""
        left = STOP_SECONDS
        while True:
            try:
                return child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                left -= 0.2 if self.stopping.is_set() else 0.0
            if left < -STOP_SECONDS / 6:
                child.kill()
            elif left < 0:
                child.terminate()

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
            waiting = clock.due(table, self.config.schedule, book, now)
            health["last_slot"] = row.facts["slot"] if row else None
            health["lag_seconds"] = round((now - waiting[0]).total_seconds()) if waiting else 0
        except RegistryError as error:  # the child says so too, and the next tick may find it again
            health["state"] = f"{state}; {error.what}"
        atomic.write_json(HEALTH, health)
        took = f" in {self.last['seconds']} s" if self.last and state in ("ok", "failed") else ""
        print(
            f"serve: {health['at'][:19]}Z {health['state']}{took}; last slot {health['last_slot']},"
            f" next {health['next_slot']}, lag {health['lag_seconds']} s",
            flush=True,
        )


@contextmanager
def _told_to_stop(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set an event while the block runs."""
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for one in before:
        signal.signal(one, lambda *_: stopping.set())
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def command(overrides: list[str]) -> list[str]:
    """What a tick runs: the one command of every scheduler, with the overrides that the server was given."""
    return [sys.executable, "pipelines/score.py", "mode=due", *overrides]
