"""Forecast every series of the feed as it is now with the champion, and publish the forecasts once.

python pipelines/score.py
python pipelines/score.py source=m4_hourly
python pipelines/score.py as_of=2025-04-08T23:00    play another day
"""

import time

from gatecast.config import Config
from gatecast.entry import entry


@entry(groups=("source",))
def main(config: Config) -> None:
    from gatecast.scoring.run import score

    assert config.feed is not None
    start = time.perf_counter()
    done = score(config.feed, config.as_of)
    m = done.manifest
    model = f"{m['model']} v{m['version']} ({m['variant']})"
    if config.horizon and config.horizon != m["horizon"]:
        print(
            f"score: the champion forecasts {m['horizon']} steps; horizon={config.horizon} needs a training of its own"
        )
    if not done.fresh:
        when = m["scored_at"][:19]
        print(f"score: {model} has scored this feed already, at {when} UTC: {done.folder}")
        return
    print(
        f"score: {m['series']:,} series x {m['horizon']} steps from {m['cutoff']} by {model},"
        f" {m['fallbacks']} fallbacks -> {done.folder}/forecasts.parquet in {time.perf_counter() - start:.1f} s"
    )
    if m["short"]:
        print(
            f"  {m['short']:,} series have fewer values than a season: their intervals are little more than a guess"
        )
    if m["stale"]:
        print(
            f"  {m['stale']:,} series ended long before the newest value; they are forecast from their own last one"
        )
    if m["without_known_covariates"]:
        print(
            f"  {m['without_known_covariates']:,} series lack covariates known ahead:"
            " the training mean stands in for them"
        )


if __name__ == "__main__":
    main()
