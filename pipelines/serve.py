"""Stay, and score every slot of the schedule when it comes; for people without a scheduler.

python pipelines/serve.py
python pipelines/serve.py source=m4_hourly 'schedule.cron="0 * * * *"'

Each slot is scored by a child, `python pipelines/score.py mode=due`. A line a tick, and data/scoring/health.json, say
how it goes. SIGTERM and Ctrl-C let a running child end. Two servers at once do no harm: docs/scheduling.md.
"""

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from hydra.core.hydra_config import HydraConfig

    from gatecast.schedule import serve

    serve.Server(config, serve.command(list(HydraConfig.get().overrides.task))).run()


if __name__ == "__main__":
    main()
