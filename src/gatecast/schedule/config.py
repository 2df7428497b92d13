"""Settings of the schedule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Schedule:
    """When ``mode=due`` scores: slots are the instants at which ``cron`` fires by the wall clock of ``timezone``.

    ``timezone``: null: the source's, else UTC. ``window``: how far back a missing slot is still scored. ``catchup``:
    which of several missing ones: all, the ``latest``, or ``none`` (the latest, if it is a few minutes old at most).
    ``overlap``: while a slot is being scored, another call ends (``skip``) or waits (``queue``).
    """

    cron: str | None = None  # five fields as in a crontab; null: no schedule
    timezone: str | None = None
    window: str = "1D"
    catchup: str = "latest"  # latest | all | none
    overlap: str = "skip"  # skip | queue
