"""Raw feed to observations: read the source, check every row, write data/observations.

python pipelines/ingest.py                          the source of params.yaml
python pipelines/ingest.py source=files check=true  report on a feed, write nothing
"""

import time
from pathlib import Path

from gatecast.cli import entry
from gatecast.config import Config

FEED = Path("data/feed.json")
OBSERVATIONS = Path("data/observations")


@entry(groups=("source",))
def main(config: Config) -> None:
    from gatecast.core import atomic
    from gatecast.data import ingest, sources
    from gatecast.data.build_panel import build_panel

    feed = config.feed
    assert feed is not None
    if config.fingerprint:
        atomic.write_json(FEED, sources.fingerprint(feed, config.as_of))
        return
    start = time.perf_counter()
    checked = ingest.check_feed(feed, config.as_of, config.horizon or feed.task.horizon)
    print(ingest.summary(checked.report))
    if config.check:
        built = build_panel(
            checked.observations, checked.static, feed, config.horizon, config.season_length
        )
        task = f"horizon {built.meta.horizon}, season {built.meta.season_length}"
        print(f"this feed can be ingested and trained on ({task}); nothing was written")
        return
    ingest.write(checked, OBSERVATIONS)
    print(
        f"ingest: {checked.report['rows_in']:,} rows -> {OBSERVATIONS} in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
