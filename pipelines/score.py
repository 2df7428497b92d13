"""Forecast every series of the feed as it is now with the champion, and publish the forecasts once.

python pipelines/score.py
python pipelines/score.py source=m4_hourly
python pipelines/score.py as_of=2025-04-08T23:00    play another day
python pipelines/score.py score.workers=8 score.min_success_fraction=0.99

The same feed scored again by the same model is a no-op. docs/scoring.md says what happens when something fails.
"""

from gatecast.config import Config
from gatecast.entry import entry


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.scoring import page, report, run

    assert config.feed is not None
    done = run.score(config.feed, config, config.as_of)
    print(report.text(done, config.horizon))
    if done.fresh:
        print(page.after(config, done.manifest["run_key"]))


if __name__ == "__main__":
    main()
