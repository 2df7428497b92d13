"""Past slots scored as of their time: a backfill by the champion of that time, a hindcast by the champion of now.

A slot that was scored before with the same model and data is a no-op, so a backfill that was killed continues where it
was when it is started again.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gatecast.core import terminal
from gatecast.core.errors import ConfigError, ScoringError, full_text
from gatecast.core.forecast import TASKS, Task
from gatecast.core.ledger import Ledger
from gatecast.data import calendar, stamps
from gatecast.data.config import Feed
from gatecast.registry import aliases
from gatecast.registry import champion as registry
from gatecast.registry.champion import Champion
from gatecast.registry.mlflow import store
from gatecast.schedule.config import Schedule
from gatecast.schedule.slots import Timetable, clock_zone, feed_clock, stamp
from gatecast.scoring import run
from gatecast.scoring.config import Score, SinkSettings

SCORED, BEFORE, NOBODY = "scored", "published before", "without a champion then"


@dataclass(frozen=True)
class Span:
    """Past slots to score.

    Attributes:
        begin, end: as a user wrote them; a bare date as the end is all of it.
        hindcast: score by the champion of now, not by that of each time.
    """

    begin: str
    end: str
    hindcast: bool = False


@dataclass
class Done:
    """What a backfill (or hindcast: ``kind``) did.

    Attributes:
        first, last: of its slots.
        slots: their number by outcome.
        failed: the errors of each slot that a champion, or all, could not score; they have been printed.
    """

    kind: str
    first: datetime
    last: datetime
    slots: Counter[str] = field(default_factory=Counter)
    failed: dict[datetime, list[Exception]] = field(default_factory=dict)

    def text(self) -> str:
        """A line for the terminal."""
        counts = [f"{n:,} {outcome}" for outcome, n in self.slots.items()]
        counts += [f"{len(self.failed):,} failed"] if self.failed else []
        total = self.slots.total() + len(self.failed)
        span = f"{stamp(self.first)} to {stamp(self.last)}"
        return f"{self.kind} of {total:,} slots, {span}: {', '.join(counts)}"

    def check(self) -> None:
        """Raise SLOTS if a champion, or all, could not score a slot."""
        if self.failed:
            raise ScoringError(
                "SLOTS",
                f"{self.text()}.",
                "The lines above say what each of them needs; the same command tries them again.",
            )


def run_span(
    span: Span,
    feed: Feed,
    schedule: Schedule,
    horizon: int | None = None,
    rules: Score | None = None,
    recipe: SinkSettings | None = None,
) -> Done:
    """Score every slot of a span, oldest first.

    Args:
        span: the span.
        feed: the source recipe.
        schedule: which slots it has.
        horizon: steps between two slots where there is no schedule; None: the source's.
        rules, recipe: as in :func:`gatecast.scoring.run.score`.

    Raises:
        ConfigError: SPAN if there is no slot in it.
        ScoringError: NO-CHAMPION.
        RegistryError: LEDGER, STORE.
    """
    slots = list(past_slots(span, feed, schedule, horizon))
    if not slots:
        raise ConfigError(
            "SPAN",
            f"the schedule has no slot from {span.begin} to {span.end}.",
            "Choose a longer span; `from` comes first.",
        )
    kind = "hindcast" if span.hindcast else "backfill"
    done, models = Done(kind, slots[0], slots[-1]), Models(feed.name, span.hindcast)
    zone = clock_zone(feed, schedule)
    with terminal.bar(len(slots), "slot", kind) as bar:
        for slot in slots:
            errors: list[Exception] = []
            try:
                champions = models.at(slot)
                outcome = NOBODY
                if any(champions.values()):
                    as_of = feed_clock(feed, zone, slot)
                    runs, failed = run.score_all(feed, as_of, rules, recipe, champions, kind)
                    errors += failed.values()
                    outcome = SCORED if any(one.fresh for one in runs) else BEFORE
            # an unforeseen error must not hold up the other slots
            except Exception as error:
                errors.append(error)
            for one in errors:
                bar.write(f"slot {stamp(slot)}: {full_text(one)}", file=sys.stderr)
            if errors:
                done.failed[slot] = errors
            else:
                done.slots[outcome] += 1
                if outcome == NOBODY:
                    bar.write(f"slot {stamp(slot)}: no model was champion then; left out")
            bar.update()
    return done


class Models:
    """Which versions score a slot: the champions of its time, or those of now; each version is loaded once."""

    def __init__(self, source: str, hindcast: bool) -> None:
        self._source = source
        self._ledger = Ledger()
        self._now: dict[Task, Champion | None] | None = None
        self._loaded: dict[Task, Champion] = {}
        if hindcast:
            self._now = {task: registry.champion(source, task=task) for task in TASKS}
            if not any(self._now.values()):
                raise run.no_champion(source)

    def at(self, slot: datetime) -> dict[Task, Champion | None]:
        """The versions that score a slot, by task; None where none was champion then."""
        return self._now or {task: self._then(task, slot) for task in TASKS}

    def _then(self, task: Task, slot: datetime) -> Champion | None:
        model = store.model_name(self._source, task)
        number = aliases.champion_then(self._ledger, model, slot)
        if number is None:
            return None
        loaded = self._loaded.get(task)
        if loaded is None or loaded.version != number:
            loaded = self._loaded[task] = registry.numbered(self._source, number, task)
        return loaded


def past_slots(
    span: Span, feed: Feed, schedule: Schedule, horizon: int | None = None
) -> Iterator[datetime]:
    """The slots of a backfill: the schedule's, or one per horizon where there is no schedule."""
    zone = clock_zone(feed, schedule)
    begin, end = moment(span.begin, zone), moment(span.end, zone, whole_day=True)
    if schedule.cron is not None:
        yield from Timetable.of(feed, schedule).between(begin, end)
        return
    step = (horizon or feed.task.horizon) * calendar.offset(feed.frequency)
    # Days and months are steps of the wall clock, hours are steps of time.
    wall = "UTC" if calendar.is_subdaily(str(feed.frequency)) else zone
    slot = begin.astimezone(ZoneInfo(wall)).replace(tzinfo=None)
    while (now := stamps.instant(str(slot), wall).tz_localize(UTC).to_pydatetime()) <= end:
        yield now
        slot = slot + step


def moment(text: str, zone: str, whole_day: bool = False) -> datetime:
    """A time that a user wrote, local to a zone unless it has an offset.

    Args:
        text: a time or a date.
        zone: of the wall clock.
        whole_day: a date means its last second, not its first.
    """
    bare = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip())
    at = stamps.instant(text, zone).tz_localize(UTC).to_pydatetime()
    if whole_day and bare:
        tomorrow = str(datetime.fromisoformat(text.strip()) + timedelta(days=1))
        at = moment(tomorrow, zone) - timedelta(seconds=1)
    return at
