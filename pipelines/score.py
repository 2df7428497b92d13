"""Forecast every series of the feed as it is now with its champions, of quantiles and of events; publish each run once.

python pipelines/score.py
python pipelines/score.py source=m4_hourly
python pipelines/score.py as_of=2025-04-08T23:00    play another day
python pipelines/score.py score.workers=8 score.min_success_fraction=0.99

python pipelines/score.py mode=due                  every slot of `schedule` that is due and missing; safe to repeat
python pipelines/score.py mode=backfill from=2025-03-01 to=2025-03-07 [hindcast=true]

The same feed scored again by the same model is a no-op. docs/scoring.md says what happens when something fails,
docs/scheduling.md how to score on a schedule. A backfill scores past slots as of their time, by the model that was
champion then; hindcast=true by the one of now. Its `from` and `to` are the settings `begin` and `end` below.
"""

import sys

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"), modes=("now", "due", "backfill"))
def main(config: Config) -> None:
    assert config.feed is not None
    if config.mode == "due":
        from gatecast.schedule import clock

        tick = clock.run_due(config)
        print(f"score: {tick.text()}")
        if tick.run_keys:
            from gatecast.reports import page

            for key in tick.run_keys:
                print(page.after(config, key))
    elif config.mode == "backfill":
        from gatecast.schedule import backfill

        print(f"score: {backfill.run_span(config).text()}")
    else:
        from gatecast.reports import page
        from gatecast.reports import scoring as report
        from gatecast.scoring import run

        runs, errors = run.score_all(config.feed, config, config.as_of)
        for done in runs:
            print(report.text(done, config.horizon))
            if done.fresh:
                print(page.after(config, done.manifest["run_key"]))
        for error in errors[1:]:
            print(f"\n{error}", file=sys.stderr)
        if errors:
            raise errors[0]


if __name__ == "__main__":
    main()
