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
from typing import Any
from zoneinfo import ZoneInfo

from gatecast.config import Config, Feed
from gatecast.errors import ConfigError


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
        return self._from(moment + timedelta(seconds=1))

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The slots of a span, both ends included, oldest first."""
        slot = self._from(begin)
        while slot <= end:
            yield slot
            slot = self.after(slot)

    def last(self, moment: datetime, window: timedelta) -> datetime | None:
        """The newest slot at or before a moment, if it is not older than a window."""
        return max(self.between(moment - window, moment), default=None)

    def key(self, slot: datetime) -> str:
        """What one row of the ledger may have: this slot, scored."""
        return f"slot/{self.feed.name}/{stamp(slot)}"

    def as_of(self, slot: datetime) -> str:
        """A slot by the feed's own clock: see :func:`feed_clock`."""
        return feed_clock(self.feed, self.zone, slot)

    def _from(self, moment: datetime) -> datetime:
        slot = self._trigger().get_next_fire_time(None, moment.astimezone(ZoneInfo(self.zone)))
        assert slot is not None  # config.check
        return slot.astimezone(UTC)

    def _trigger(self) -> Any:
        from apscheduler.triggers.cron import CronTrigger

        return CronTrigger.from_crontab(self.cron, timezone=self.zone)


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
