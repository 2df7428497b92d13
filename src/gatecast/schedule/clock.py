"""The clock scores every due slot exactly one time, however often, late or concurrently it is called.

    lease on the clock -> due slots -> score as of each slot -> a ledger row for the slot

The ledger is its only memory: a slot with a row is done, a slot without one is missing. A process that dies in between
leaves the slot missing. The next call scores it again, which is a no-op where the run was published (see
:mod:`gatecast.scoring.run`), and adds the row. After the machine's clock was set back, the slots are done already.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gatecast.core import failpoints
from gatecast.core import ledger as ledgers
from gatecast.core.errors import GatecastError, RegistryError, ScoringError
from gatecast.core.ledger import Entry, Ledger, who
from gatecast.data.config import Feed
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp
from gatecast.scoring.config import Score, Sink

# Kinds of ledger rows.
SLOT, MISSED = "slot", "slots-missed"
# How late `catchup: none` still scores a slot.
ON_TIME = timedelta(minutes=10)


@dataclass(frozen=True)
class Tick:
    """What one call of the clock did.

    Attributes:
        done: ledger rows of the slots that were scored.
        busy: who scores, if another process does; None otherwise.
        next: the next slot.
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


def due(table: Timetable, schedule: Schedule, ledger: Ledger, now: datetime) -> list[datetime]:
    """The slots that are due and missing, oldest first."""
    window = span(schedule)
    if schedule.catchup == "all":
        slots = list(table.between(now - window, now))
    else:
        late = window if schedule.catchup == "latest" else min(window, ON_TIME)
        newest = table.last(now, late)
        slots = [] if newest is None else [newest]
    return missing(table, ledger, slots)


def missing(table: Timetable, ledger: Ledger, slots: list[datetime]) -> list[datetime]:
    """Those of some slots that have no row in the ledger."""
    done = ledger.recorded([table.key(slot) for slot in slots])
    return [slot for slot in slots if table.key(slot) not in done]


def span(schedule: Schedule) -> timedelta:
    """How old a missing slot may be and still be scored."""
    import pandas as pd

    return pd.Timedelta(schedule.window).to_pytimedelta()


def run_due(
    feed: Feed,
    schedule: Schedule,
    now: datetime | None = None,
    rules: Score | None = None,
    recipe: Sink | None = None,
) -> Tick:
    """Score every slot that is due and missing, and print one line per slot.

    Args:
        feed: the source recipe.
        schedule: when it is scored.
        now: the time; None: this machine's.
        rules, recipe: as in :func:`gatecast.scoring.run.score`.

    Raises:
        ConfigError: SCHEDULE if there is no schedule.
        ScoringError: SLOTS if a slot could not be scored: it stays missing, and the next call tries it again.
        RegistryError: LEASE if another call took longer than the window (``overlap: queue``); LEDGER.
    """
    table, ledger = Timetable.of(feed, schedule), Ledger()
    with ExitStack() as held:
        # Long enough for the lease of a killed process to run out.
        patience = ledgers.SECONDS + 1
        if schedule.overlap == "queue":
            patience = max(patience, span(schedule).total_seconds())
        try:
            held.enter_context(ledger.lease(f"clock {feed.name}", patience=patience))
        except RegistryError as error:
            if error.code != "LEASE" or schedule.overlap == "queue":
                raise
            return Tick([], error.what, table.after(now or datetime.now(UTC)))
        failpoints.reach("clock: lease taken")
        moment = now or datetime.now(UTC)
        settled = (moment - span(schedule)).replace(second=0, microsecond=0)
        _record_missed(table, ledger, settled)
        done, failed = [], []
        for slot in due(table, schedule, ledger, moment):
            try:
                done.append(_score(table, ledger, slot, settled, rules, recipe))
            # an unforeseen error must not hold up the other slots
            except Exception as error:
                failed.append(slot)
                known = isinstance(error, GatecastError)
                text = str(error) if known else traceback.format_exc()
                print(f"slot {stamp(slot)}: {text}", file=sys.stderr)
    if failed:
        raise ScoringError(
            "SLOTS",
            f"{len(failed)} of {len(failed) + len(done)} slots could not be scored:"
            f" {', '.join(map(stamp, failed[:5]))}{' …' if len(failed) > 5 else ''}.",
            "The lines above say what each of them needs. `mode=due` tries again, as long as schedule.catchup and"
            " schedule.window allow; `mode=backfill` scores them later.",
        )
    return Tick(done, None, table.after(moment))


def standing(feed: Feed, schedule: Schedule) -> str:
    """One line on what the schedule has done and what comes next.

    Raises:
        RegistryError: LEDGER.
    """
    if schedule.cron is None:
        return "none: `schedule.cron` in params.yaml is null"
    table, ledger, now = Timetable.of(feed, schedule), Ledger(), datetime.now(UTC)
    last = ledger.last(feed.name, SLOT)
    waiting = due(table, schedule, ledger, now)
    missed = sum(row.facts["slots"] for row in ledger.entries(MISSED, feed.name))
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
    table: Timetable,
    ledger: Ledger,
    slot: datetime,
    settled: datetime,
    rules: Score | None,
    recipe: Sink | None,
) -> Entry:
    """Score one slot with every champion, and note it once all their runs are published."""
    from gatecast.evaluation.events import say
    from gatecast.scoring import run, store

    as_of = table.as_of(slot)
    runs, errors = run.score_all(table.feed, as_of, rules, recipe)
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
    key = table.key(slot)
    entry = ledger.append(SLOT, table.feed.name, facts, key=key) or ledger.find(key)
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


def _record_missed(table: Timetable, ledger: Ledger, settled: datetime) -> None:
    """Record the slots that have become older than the window since the last row, in one row."""
    source = table.feed.name
    first, before = ledger.first(source, SLOT), ledger.last(source, SLOT, MISSED)
    # the clock's first call: no slot was promised before
    if first is None or before is None:
        return
    begin = max(map(datetime.fromisoformat, (first.facts["slot"], before.facts["settled"])))
    gone = missing(table, ledger, list(table.between(begin, settled - timedelta(seconds=1))))
    if not gone:
        return
    span = {"first": stamp(gone[0]), "last": stamp(gone[-1])}
    facts = {"slots": len(gone), **span, "settled": stamp(settled)}
    if ledger.append(MISSED, source, facts, key=f"{MISSED}/{source}/{span['first']}"):
        print(f"{len(gone):,} slots from {span['first']} to {span['last']} were missed")
