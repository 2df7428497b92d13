"""Stay, and score every slot of the schedule when it comes; for people without a scheduler.

gatecast serve
gatecast serve source=m4_hourly 'schedule.cron="0 * * * *"'

Each slot is scored by a child, `gatecast score mode=due`. A line a tick, and data/scoring/health.json, say
how it goes. SIGTERM and Ctrl-C let a running child end. Two servers at once do no harm: docs/scheduling.md.
"""

from __future__ import annotations

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config


@command(groups=("source", "sink"), reads=("schedule",))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.schedule import serve

    command = serve.command(list(config.overrides))
    schedule = config.settings.schedule
    serve.Server(config.feed, schedule, command).run()
