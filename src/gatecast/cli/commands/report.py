"""Draw the page of a published scoring run again: reports/scoring/<source>-<run key>.html.

gatecast report                              the newest run
gatecast report run_key=ec12447d840f3218
gatecast report score.show=[site_007,site_012]

Every run that `gatecast score` publishes is drawn as reports/scoring/<source>.html.
"""

from __future__ import annotations

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.schema import Schema, Text


class Options(Schema):
    """Which run."""

    run_key: Text | None = None
    """Key of the run; null: the newest."""


@command(
    groups=("source", "sink"),
    reads=("source", "score.show"),
    options=Options,
    sweeps=("source", "run_key"),
)
def main(config: Config, options: Options) -> None:
    from gatecast.reports import page

    source, show = config.settings.source, config.settings.score.show
    print(page.of_run(source, options.run_key, recipe=config.storage, show=show))
