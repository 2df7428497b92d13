"""Compare published forecasts with the actuals that have arrived since -> reports/actuals.json.

gatecast monitor
gatecast monitor source=m4_hourly        the competition's test file holds the actuals
gatecast monitor as_of=2025-04-12T23:00   the feed as of this time
"""

from __future__ import annotations

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config


@command(groups=("source", "sink"), reads=("as_of",))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.reports import monitor
    from gatecast.scoring import sinks

    content = monitor.monitor(config.feed, config.settings.as_of, sinks.sink(config.storage))
    print(monitor.line(content))
    print(f"monitor: {len(content['runs'])} runs -> {monitor.REPORT}")
