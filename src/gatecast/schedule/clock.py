"""The clock scores every due slot exactly one time, however often, late or concurrently it is called.

    lease on the clock -> due slots -> score as of each slot -> a ledger row for the slot

The ledger is its only memory: a slot with a row is done, a slot without one is missing. A process that dies in between
leaves the slot missing. The next call scores it again, which is a no-op where the run was published (see
:mod:`gatecast.scoring.run`), and adds the row. After the machine's clock was set back, the slots are done already.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gatecast.core import failpoints
from gatecast.core import ledger as ledgers
from gatecast.core.errors import RegistryError, ScoringError, full_text
from gatecast.core.forecast import say
from gatecast.core.ledger import Entry, Ledger, who
from gatecast.data.config import Feed
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, stamp
from gatecast.scoring.config import Score, SinkSettings

if TYPE_CHECKING:
    from gatecast.scoring.run import Summary

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
        run_keys: of the runs of the newest slot of which one was published.
        failed: the errors of each slot that a champion, or all, could not score; they have been printed.
    """

    done: list[Entry]
    busy: str | None
    next: datetime
    run_keys: list[str] = field(default_factory=list)
    failed: dict[datetime, list[Exception]] = field(default_factory=dict)

    def text(self) -> str:
        """A line for the terminal."""
        if self.busy:
            return f"{self.busy.rstrip('.')}; nothing to do here"
        done = f"{len(self.done)} slots scored" if self.done else "nothing was due"
        return f"{done}; the next slot is {stamp(self.next)}"

    def check(self) -> None:
        """Raise SLOTS if a champion, or all, could not score a slot."""
        slots = list(self.failed)
        if slots:
            raise ScoringError(
                "SLOTS",
                f"{len(slots)} slots could not be scored, or not by every champion: {', '.join(map(stamp, slots[:5]))}"
                f"{' …' if len(slots) > 5 else ''}.",
                "The lines above say what each of them needs. `mode=due` tries again those that are not noted, as long"
                " as schedule.catchup and schedule.window allow; `mode=backfill` scores what is missing later.",
            )


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
    recipe: SinkSettings | None = None,
) -> Tick:
    """Score every slot that is due and missing, and print one line per slot.

    Args:
        feed: the source recipe.
        schedule: when it is scored.
        now: the time; None: this machine's.
        rules, recipe: as in :func:`gatecast.scoring.run.score`.

    Raises:
        ConfigError: SCHEDULE if there is no schedule.
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
        tick = Tick([], None, table.after(moment))
        for slot in due(table, schedule, ledger, moment):
            try:
                errors = _score(tick, table, ledger, slot, settled, rules, recipe)
            # an unforeseen error must not hold up the other slots
            except Exception as error:
                errors = [error]
            if errors:
                tick.failed[slot] = errors
            for one in errors:
                print(f"slot {stamp(slot)}: {full_text(one)}", file=sys.stderr)
    return tick


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
    tick: Tick,
    table: Timetable,
    ledger: Ledger,
    slot: datetime,
    settled: datetime,
    rules: Score | None,
    recipe: SinkSettings | None,
) -> list[Exception]:
    """Score one slot with every champion, add to the tick what was done, and return the errors.

    The slot is noted unless the run of quantiles fails, or that of events where it is the only one: a champion of
    events that fails for good must not keep the slot missing for good.
    """
    from gatecast.scoring import run

    as_of = table.as_of(slot)
    runs, errors = run.score_all(table.feed, as_of, rules, recipe)
    if runs:
        tick.run_keys[:] = [summary.manifest["run_key"] for summary in runs]
    _say(slot, runs)
    if not runs or "quantile" in errors:
        return list(errors.values())
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
    if errors:
        facts["failed"] = list(errors)
    key = table.key(slot)
    entry = ledger.append(SLOT, table.feed.name, facts, key=key) or ledger.find(key)
    assert entry is not None
    tick.done.append(entry)
    failpoints.reach("clock: slot noted")
    return list(errors.values())


def _say(slot: datetime, runs: list[Summary]) -> None:
    """Print one line per run of a slot."""
    from gatecast.scoring import store

    for summary in runs:
        made = summary.manifest
        again = "" if summary.fresh else ", which was published before"
        event = f" ({say(made['event'])})" if store.task_of(made) == "event" else ""
        print(
            f"slot {stamp(slot)}: {made['series']:,} series from {made['cutoff']} by"
            f" v{made['version']}{event} -> run {made['run_key']}{again}"
        )


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
