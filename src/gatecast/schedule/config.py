"""Settings of the schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from gatecast.core.schema import Schema, require
from gatecast.core.span import Span


class Schedule(Schema):
    """When ``mode=due`` scores: slots are the instants at which ``cron`` fires by the wall clock of ``timezone``."""

    cron: str | None = None
    """Five fields as in a crontab; null: no schedule."""

    timezone: str | None = None
    """Whose wall clock that is; null: the source's, else UTC."""

    window: Span = "1D"
    """How far back a missing slot is still scored."""

    catchup: Literal["latest", "all", "none"] = "latest"
    """Which of several missing slots; none: the latest, if it is a few minutes old at most."""

    overlap: Literal["skip", "queue"] = "skip"
    """While a slot is being scored, another call ends (skip) or waits (queue)."""

    @field_validator("cron")
    @classmethod
    def _cron(cls, cron: str | None) -> str | None:
        from gatecast.schedule import crontab

        fault = None if cron is None else crontab.fault(cron)
        require(fault is None, "", cron, fault or "")
        return cron

    @field_validator("timezone")
    @classmethod
    def _zone(cls, zone: str | None) -> str | None:
        from gatecast.schedule import crontab

        real = zone is None or crontab.is_zone(zone)
        require(real, "", zone, "like Europe/Berlin, or null")
        return zone
