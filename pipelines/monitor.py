"""Compare published forecasts with the actuals that have arrived since -> reports/actuals.json.

python pipelines/monitor.py
python pipelines/monitor.py source=m4_hourly        the competition's test file holds the actuals
python pipelines/monitor.py as_of=2025-04-12T23:00   play another day
"""

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.reports import monitor
    from gatecast.scoring import sinks

    assert config.feed is not None
    assert config.storage is not None
    content = monitor.monitor(config.feed, config.as_of, sinks.sink(config.storage))
    print(monitor.line(content))
    print(f"monitor: {len(content['runs'])} runs -> {monitor.REPORT}")


if __name__ == "__main__":
    main()
