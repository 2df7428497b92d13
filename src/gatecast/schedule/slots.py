"""The slots of a schedule: the instants at which a feed is to be scored.

    table = Timetable.of(feed, schedule)
    list(table.between(begin, end))    # every slot of a span, each one once, in UTC
    table.as_of(slot)                  # the same moment by the feed's own clock

A slot is an instant in UTC. The cron expression names times of a wall clock (cronsim says which); where that clock is
changed, a time that it shows twice is two slots, and a time that it skips is the instant at which it would have come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import takewhile
from zoneinfo import ZoneInfo

from gatecast.core.errors import ConfigError
from gatecast.data.config import Feed
from gatecast.schedule.config import Schedule

# Longer than any change of a wall clock.
_CHANGE = timedelta(hours=3)


@dataclass(frozen=True)
class Timetable:
    """When a source is scored: a cron expression, by the wall clock of a zone."""

    feed: Feed
    cron: str
    zone: str

    @classmethod
    def of(cls, feed: Feed, schedule: Schedule) -> Timetable:
        """The timetable that ``params.yaml`` and the source recipe describe.

        Raises:
            ConfigError: SCHEDULE if there is none.
        """
        if schedule.cron is None:
            raise ConfigError(
                "SCHEDULE",
                "params.yaml: `schedule.cron` is null, so no slot is ever due.",
                'Set it, e.g. "0 * * * *" for every full hour.',
            )
        return cls(feed, schedule.cron, clock_zone(feed, schedule))

    def after(self, moment: datetime) -> datetime:
        """The first slot later than a moment."""
        return next(self._from(moment + timedelta.resolution))

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The slots of a span, both ends included, oldest first."""
        return takewhile(lambda slot: slot <= end, self._from(begin))

    def last(self, moment: datetime, window: timedelta) -> datetime | None:
        """The newest slot at or before a moment, if it is not older than a window."""
        return max(self.between(moment - window, moment), default=None)

    def key(self, slot: datetime) -> str:
        """The ledger's key of a slot: one row may have it."""
        return f"slot/{self.feed.name}/{stamp(slot)}"

    def as_of(self, slot: datetime) -> str:
        """A slot by the feed's own clock: see :func:`feed_clock`."""
        return feed_clock(self.feed, self.zone, slot)

    def _from(self, moment: datetime) -> Iterator[datetime]:
        """The slots at or after a moment, oldest first."""
        from cronsim import CronSim

        zone = ZoneInfo(self.zone)
        begin = moment.astimezone(zone).replace(tzinfo=None) - _CHANGE
        coming: list[datetime] = []
        last = None
        for wall in CronSim(self.cron, begin):
            first, second = (wall.replace(tzinfo=zone, fold=f).astimezone(UTC) for f in (0, 1))
            heappush(coming, first)
            # the clock shows this time twice
            if second > first:
                heappush(coming, second)
            # No later time of the wall clock comes before the earlier reading of this one.
            while coming and coming[0] <= min(first, second):
                slot = heappop(coming)
                if slot >= moment and slot != last:
                    yield slot
                last = slot


def clock_zone(feed: Feed, schedule: Schedule) -> str:
    """The zone of the schedule: its own, else the source's, else UTC."""
    return schedule.timezone or feed.timezone or "UTC"


def feed_clock(feed: Feed, zone: str, moment: datetime) -> str:
    """A moment as ``as_of`` of a feed: with its offset where the recipe declares a zone, else local to ``zone``."""
    local = moment.astimezone(ZoneInfo(feed.timezone or zone))
    return local.replace(tzinfo=local.tzinfo if feed.timezone else None).isoformat("T", "minutes")


def stamp(moment: datetime) -> str:
    """``2025-03-30T01:00Z``: an instant for people and keys."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}Z"
