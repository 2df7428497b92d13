"""How old a feed is when it is scored: a forecast from old values is published only where somebody wants it.

The age is that of the newest value's stamp, by the machine's clock. ``as_of``, which every slot of a schedule has, sets
that clock back: a slot that is scored late is as fresh as it would have been on time.
"""

from __future__ import annotations

import sys

import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data import stamps
from gatecast.data.config import Feed
from gatecast.data.panel import Panel
from gatecast.evaluation.table import stamps_of
from gatecast.scoring.config import Score


def check(panel: Panel, feed: Feed, as_of: str | None, rules: Score) -> None:
    """Refuse a feed that is older than ``max_age``; without one, remark on a forecast that lies wholly in the past.

    Args:
        panel: what will be scored.
        feed: its recipe. One that has ended is never remarked on.
        as_of: the time of the run; None: now.
        rules: ``max_age``.

    Raises:
        IngestError: STALE-FEED.
    """
    # stamps are in UTC, or local without a zone, which is then taken for UTC
    now = pd.Timestamp.now("UTC").tz_localize(None)
    if as_of is not None:
        now = min(now, stamps.instant(as_of, feed.timezone))
    newest = panel.last - 1
    age = now - panel.axis[newest]
    what = f"the newest value of {feed.name} is of {stamps_of(panel)[newest]}, {_words(age)} old"
    if rules.max_age is not None and age > pd.Timedelta(rules.max_age):
        raise IngestError(
            "STALE-FEED",
            f"{what}; `score.max_age` is {rules.max_age}. Nothing was published.",
            "Find out why the feed brings nothing new; `score.max_age=null` scores it as it is.",
        )
    if rules.max_age is None and feed.goes_on and now > panel.axis[newest + panel.meta.horizon]:
        print(
            f"score: {what}: the whole forecast lies in the past. Set `score.max_age` (2D) to make this an error.",
            file=sys.stderr,
        )


def _words(age: pd.Timedelta) -> str:
    """``12 days``, ``31 hours``, ``0 hours``."""
    hours = int(age / pd.Timedelta(hours=1))
    return f"{hours // 24:,} days" if hours >= 72 else f"{hours} hours"
