"""The clock: which slots are due, and each of them scored once, whoever calls, how often, how late, or at once.

    nothing is remembered but the ledger's rows: a slot is done if there is one, and missing if there is none
    lease on the clock -> what is due -> score as of the slot -> the slot's row

A process that dies in between leaves the slot missing: the next call scores it again, which is a no-op where the run
was published (see :mod:`gatecast.scoring.run`), and notes it. A clock that is set back finds its slots done.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gatecast.config import Config
from gatecast.core import failpoints, ledger
from gatecast.core.errors import GatecastError, RegistryError, ScoringError
from gatecast.core.ledger import Entry, Ledger, who
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp

SLOT, MISSED = "slot", "slots-missed"  # kinds of ledger rows
ON_TIME = timedelta(minutes=10)  # how late `catchup: none` still scores a slot


@dataclass(frozen=True)
class Tick:
    """What one call of the clock did.

    Attributes:
        done: rows of the slots that were scored.
        busy: who scores, if somebody else does; None otherwise.
        next: the first slot that is still to come.
    """

    done: list[Entry]
    busy: str | None
    next: datetime

    @property
    def run_keys(self) -> list[str]:
        """Keys of the runs of the newest slot that was scored."""
        facts = self.done[-1].facts if self.done else {}
        return [run["run_key"] for run in (facts, facts.get("event", {})) if "run_key" in run]

    def text(self) -> str:
        """A line for the terminal."""
        if self.busy:
            return f"{self.busy.rstrip('.')}; nothing to do here"
        done = f"{len(self.done)} slots scored" if self.done else "nothing was due"
        return f"{done}; the next slot is {stamp(self.next)}"


def due(table: Timetable, schedule: Schedule, book: Ledger, now: datetime) -> list[datetime]:
    """The slots that are due and missing, oldest first."""
    window = span(schedule)
    if schedule.catchup == "all":
        slots = list(table.between(now - window, now))
    else:
        late = window if schedule.catchup == "latest" else min(window, ON_TIME)
        newest = table.last(now, late)
        slots = [] if newest is None else [newest]
    return missing(table, book, slots)


def missing(table: Timetable, book: Ledger, slots: list[datetime]) -> list[datetime]:
    """Those of some slots that no row of the ledger says were scored."""
    done = book.noted([table.key(slot) for slot in slots])
    return [slot for slot in slots if table.key(slot) not in done]


def span(schedule: Schedule) -> timedelta:
    """How far back a missing slot is scored."""
    import pandas as pd

    return pd.Timedelta(schedule.window).to_pytimedelta()


def run_due(config: Config, now: datetime | None = None) -> Tick:
    """Score every slot that is due and missing, and say so line by line.

    Args:
        config: the settings; ``config.feed`` and ``config.schedule`` above all.
        now: the time; None: this machine's.

    Raises:
        ConfigError: SCHEDULE if there is no schedule.
        ScoringError: SLOTS if a slot could not be scored: it stays missing, and the next call tries it again.
        RegistryError: LEASE if another call went on longer than the window (``overlap: queue``); LEDGER.
    """
    table, schedule, book = Timetable.of(config), config.schedule, Ledger()
    with ExitStack() as held:
        # Long enough to tell a holder that lives from one that was killed: that one's lease runs out.
        patience = ledger.SECONDS + 1
        if schedule.overlap == "queue":
            patience = max(patience, span(schedule).total_seconds())
        try:
            held.enter_context(book.lease(f"clock {config.source}", patience=patience))
        except RegistryError as error:
            if error.code != "LEASE" or schedule.overlap == "queue":
                raise
            return Tick([], error.what, table.after(now or datetime.now(UTC)))
        failpoints.reach("clock: lease taken")
        moment = now or datetime.now(UTC)
        settled = (moment - span(schedule)).replace(second=0, microsecond=0)
        _note_missed(table, book, settled)
        done, failed = [], []
        for slot in due(table, schedule, book, moment):
            try:
                done.append(_score(config, table, book, slot, settled))
            except Exception as error:  # a slot that nobody foresaw must not hold up the others
                failed.append(slot)
                known = isinstance(error, GatecastError)
                said = str(error) if known else traceback.format_exc()
                print(f"slot {stamp(slot)}: {said}", file=sys.stderr)
    if failed:
        raise ScoringError(
            "SLOTS",
            f"{len(failed)} of {len(failed) + len(done)} slots could not be scored:"
            f" {', '.join(map(stamp, failed[:5]))}{' …' if len(failed) > 5 else ''}.",
            "What each of them needs stands above. `mode=due` tries again, as long as schedule.catchup and"
            " schedule.window say; `mode=backfill` scores them later.",
        )
    return Tick(done, None, table.after(moment))


def standing(config: Config) -> str:
    """A line that says what the schedule has done, and what it waits for.

    Raises:
        RegistryError: LEDGER.
    """
    if config.schedule.cron is None:
        return "none: `schedule.cron` in params.yaml is null"
    table, book, now = Timetable.of(config), Ledger(), datetime.now(UTC)
    last = book.last(config.source, SLOT)
    waiting = due(table, config.schedule, book, now)
    missed = sum(row.facts["slots"] for row in book.entries(MISSED, config.source))
    parts = [
        f"{table.cron} ({table.zone})",
        f"last slot {last.facts['slot']} by v{last.facts['version']}"
        if last
        else "no slot scored yet",
        f"{len(waiting)} due" if waiting else "nothing due",
        f"next {stamp(table.after(now))}",
        *([f"{missed:,} missed so far"] if missed else []),
    ]
    return ", ".join(parts)


def _score(
    config: Config, table: Timetable, book: Ledger, slot: datetime, settled: datetime
) -> Entry:
    """Score one slot with every champion, and note it once all their runs are published."""
    from gatecast.evaluation.events import say
    from gatecast.scoring import run, store

    assert config.feed is not None
    as_of = table.as_of(slot)
    runs, errors = run.score_all(config.feed, config, as_of)
    if errors:
        raise errors[0]
    failpoints.reach("clock: slot scored")
    manifest, *others = [summary.manifest for summary in runs]
    facts: dict[str, Any] = {
        "slot": stamp(slot),
        "as_of": as_of,
        "settled": stamp(settled),
        "run_key": manifest["run_key"],
        "version": manifest["version"],
        "cutoff": manifest["cutoff"],
        "seconds": round(sum(summary.seconds for summary in runs), 3),
        "by": who(),
    }
    if others:  # the run of events, beside that of quantiles
        facts["event"] = {name: others[0][name] for name in ("run_key", "version")}
    once = table.key(slot)
    entry = book.append(SLOT, config.source, facts, once=once) or book.find(once)
    assert entry is not None
    failpoints.reach("clock: slot noted")
    for summary in runs:
        made = summary.manifest
        again = "" if summary.fresh else ", which was published before"
        event = f" ({say(made['event'])})" if store.task_of(made) == "event" else ""
        print(
            f"slot {stamp(slot)}: {made['series']:,} series from {made['cutoff']} by"
            f" v{made['version']}{event} -> run {made['run_key']}{again}"
        )
    return entry


def _note_missed(table: Timetable, book: Ledger, settled: datetime) -> None:
    """Note, once, the slots that have grown older than the window since the last row."""
    source = table.feed.name
    first, before = book.first(source, SLOT), book.last(source, SLOT, MISSED)
    if first is None or before is None:  # the clock's first call: no slot was promised before
        return
    begin = max(map(datetime.fromisoformat, (first.facts["slot"], before.facts["settled"])))
    gone = missing(table, book, list(table.between(begin, settled - timedelta(seconds=1))))
    if not gone:
        return
    span = {"first": stamp(gone[0]), "last": stamp(gone[-1])}
    facts = {"slots": len(gone), **span, "settled": stamp(settled)}
    if book.append(MISSED, source, facts, once=f"{MISSED}/{source}/{span['first']}"):
        print(f"{len(gone):,} slots from {span['first']} to {span['last']} were missed")
