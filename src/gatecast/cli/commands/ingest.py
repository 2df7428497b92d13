"""Raw feed to observations: read the source, check every row, write data/observations.

gatecast ingest                          the source of params.yaml
gatecast ingest source=files check=true  report on a feed, write nothing
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.errors import IngestError
from gatecast.core.schema import Schema

WATCHED = Path("data/raw/.watch")
OBSERVATIONS = Path("data/observations")


class Options(Schema):
    """What an ingest may do instead."""

    check: bool = False
    """Report on the feed, write nothing."""

    fingerprint: bool = False
    """Only note which raw files there are, in data/raw/.watch/<source>.json."""


@command(
    groups=("source",),
    reads=("as_of", "horizon", "season_length", "watch"),
    options=Options,
    dry="check",
)
def main(config: Config, options: Options) -> None:
    from gatecast.core import atomic
    from gatecast.data import ingest, sources
    from gatecast.data.build_panel import build_panel

    feed, settings = config.feed, config.settings
    if options.fingerprint:
        note = WATCHED / f"{config.names['source']}.json"
        atomic.write_json(note, sources.fingerprint(feed, settings.as_of))
        return
    if "DVC_STAGE" in os.environ and config.names["source"] not in settings.watch:
        _require_seen(config.names["source"], sources.unseen(feed))
    start = time.perf_counter()
    checked = ingest.check_feed(feed, settings.as_of)
    print(ingest.summary(checked.report))
    if options.check:
        built = build_panel(
            checked.observations, checked.static, feed, settings.horizon, settings.season_length
        )
        task = f"horizon {built.meta.horizon}, season {built.meta.season_length}"
        print(f"this feed can be ingested and trained on ({task}); nothing was written")
        return
    ingest.write(checked, OBSERVATIONS)
    print(
        f"ingest: {checked.report['rows_in']:,} rows -> {OBSERVATIONS} in {time.perf_counter() - start:.1f} s"
    )


def _require_seen(source: str, unseen: list[str]) -> None:
    """Refuse, in a stage of DVC, files that could change while `dvc repro` goes on saying that nothing has.

    Raises:
        IngestError: UNWATCHED.
    """
    if unseen:
        raise IngestError(
            "UNWATCHED",
            f"{unseen[0]} lies outside data/raw, where DVC does not see it change.",
            f"Add `{source}` to `watch` in params.yaml, then every `dvc repro` looks at it;"
            " or put the file into data/raw, or declare its sha256 in the recipe.",
        )
