"""Print what there is: raw files, panel, leaderboard, champion, forecasts, store, free disk, schedule."""

from __future__ import annotations

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config


@command(groups=("source", "sink"), reads=("as_of", "schedule"), sweeps=None)
def main(config: Config, _: NoOptions) -> None:
    from gatecast.reports import status
    from gatecast.schedule import clock

    feed, settings = config.feed, config.settings
    print(status.report(feed, settings.as_of, config.storage))
    print(f"{'schedule':12s} {clock.standing(feed, settings.schedule)}")
