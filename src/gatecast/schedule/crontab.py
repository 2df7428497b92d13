"""What a schedule may say: cron expressions and zones."""

from __future__ import annotations

from datetime import UTC, datetime


def fault(cron: str) -> str | None:
    """What a cron expression must be, if it is not: the end of a sentence; None if nothing is wrong."""
    from cronsim import CronSim, CronSimError

    fields = "five fields: minute, hour, day, month, weekday"
    if len(cron.split()) != 5:
        return fields
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as error:
        return f"{fields} ({error})"
    return None


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    from zoneinfo import ZoneInfo

    try:
        return bool(ZoneInfo(name))
    except (ValueError, OSError, KeyError):
        return False
