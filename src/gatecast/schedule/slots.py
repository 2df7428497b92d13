"""The slots of a schedule: the instants at which a feed is to be scored.

    table = Timetable.of(config)
    list(table.between(begin, end))    # every slot of a span, each one once, in UTC
    table.as_of(slot)                  # the same moment by the feed's own clock

A slot is an instant in UTC, so an hour that the wall clock shows twice or never is no trouble. Which instants they are
is APScheduler's to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from gatecast.config import Config
from gatecast.core.errors import ConfigError
from gatecast.data.config import Feed

BEFORE_GAP = timedelta(hours=3)  # longer than any change of a wall clock, and the hour after it


@dataclass(frozen=True)
class Timetable:
    """When a source is scored: a cron expression, read by the wall clock of a zone, for a feed."""

    feed: Feed
    cron: str
    zone: str

    @classmethod
    def of(cls, config: Config) -> Timetable:
        """The timetable that ``params.yaml`` and the source recipe describe.

        Raises:
            ConfigError: SCHEDULE if there is none.
        """
        assert config.feed is not None
        if config.schedule.cron is None:
            raise ConfigError(
                "SCHEDULE",
                "params.yaml: `schedule.cron` is null, so no slot is ever due.",
                'Set it, e.g. "0 * * * *" for every full hour.',
            )
        return cls(config.feed, config.schedule.cron, clock_zone(config))

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
        """What one row of the ledger may have: this slot, scored."""
        return f"slot/{self.feed.name}/{stamp(slot)}"

    def as_of(self, slot: datetime) -> str:
        """A slot by the feed's own clock: see :func:`feed_clock`."""
        return feed_clock(self.feed, self.zone, slot)

    def _from(self, moment: datetime) -> Iterator[datetime]:
        """The slots at or after a moment, oldest first."""
        from apscheduler.triggers.cron import CronTrigger

        trigger = CronTrigger.from_crontab(self.cron, timezone=self.zone)
        # A time that the wall clock skips is found only by a search that begins before the gap.
        search = moment - BEFORE_GAP
        while True:
            found = trigger.get_next_fire_time(None, search.astimezone(ZoneInfo(self.zone)))
            assert found is not None  # checks.check
            slot = found.astimezone(UTC)
            if slot >= moment:
                yield slot
            search = slot + timedelta.resolution


def clock_zone(config: Config) -> str:
    """The zone of the schedule: its own, else the source's, else UTC."""
    assert config.feed is not None
    return config.schedule.timezone or config.feed.timezone or "UTC"


def feed_clock(feed: Feed, zone: str, moment: datetime) -> str:
    """A moment as ``as_of`` of a feed: with its offset where the recipe declares a zone, else local to ``zone``."""
    local = moment.astimezone(ZoneInfo(feed.timezone or zone))
    return local.replace(tzinfo=local.tzinfo if feed.timezone else None).isoformat("T", "minutes")


def stamp(moment: datetime) -> str:
    """``2025-03-30T01:00Z``: an instant for people and keys."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}Z"
