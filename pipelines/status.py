"""Print what there is: raw files, panel, leaderboard, champion, forecasts, store, free disk."""

from gatecast.config import Config
from gatecast.entry import entry


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.scoring import status

    assert config.feed is not None
    print(status.report(config.feed, config.as_of, config.storage))


if __name__ == "__main__":
    main()
