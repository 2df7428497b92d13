"""What a schedule may say: cron expressions that every scheduler reads alike, zones, spans of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def fault(cron: str) -> str | None:
    """What a cron expression must be, if it is not: a sentence's end; None if nothing is wrong.

    Refused is also what APScheduler reads otherwise than cron does: weekdays by number, and a day of the month
    together with a weekday.
    """
    from apscheduler.triggers.cron import CronTrigger

    try:
        trigger = CronTrigger.from_crontab(cron, timezone="UTC")
    except ValueError as error:
        return f"five fields: minute, hour, day, month, weekday ({error})"
    _, _, day, _, weekday = cron.split()
    if re.search(r"\d", weekday):
        return "with weekdays by name (mon-fri, sun): numbers mean other days in other schedulers"
    if "*" not in (day, weekday):
        return (
            "with `*` for the day of the month or for the weekday: schedulers disagree about both"
        )
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        return "a time that comes"
    return None


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    from zoneinfo import ZoneInfo

    try:
        return bool(ZoneInfo(name))
    except (ValueError, OSError, KeyError):
        return False


def is_span(text: str) -> bool:
    """Whether a text is a span of time above 0, as pandas reads it: ``12h``, ``1D``."""
    import pandas as pd

    try:
        return bool(pd.Timedelta(text) > pd.Timedelta(0))
    except ValueError:
        return False
