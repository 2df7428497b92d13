"""Print what there is: raw files, panel, leaderboard, champion, forecasts, store, free disk, schedule."""

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.reports import status
    from gatecast.schedule import clock

    assert config.feed is not None
    print(status.report(config.feed, config.as_of, config.storage))
    print(f"{'schedule':12s} {clock.standing(config)}")


if __name__ == "__main__":
    main()
