"""Forecast every series of the feed as it is now with its champions, and publish each run once.

gatecast score
gatecast score source=m4_hourly
gatecast score as_of=2025-04-08T23:00    the feed as of this time
gatecast score score.workers=8 score.min_success_fraction=0.99

gatecast score mode=due                  every slot of `schedule` that is due and missing; safe to repeat
gatecast score mode=backfill from=2025-03-01 to=2025-03-07 [hindcast=true]

The same feed scored again by the same model is a no-op. docs/scoring.md says what happens when something fails,
docs/scheduling.md how to score on a schedule. A backfill scores past slots as of their time, by the model that was
champion then; hindcast=true by the one of now.
"""

from __future__ import annotations

import sys
from typing import Literal, Self

from pydantic import Field, model_validator

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.errors import ConfigError, full_text
from gatecast.core.schema import Schema, Text, refuse


class Options(Schema):
    """What is scored."""

    mode: Literal["now", "due", "backfill"] = "now"
    """The feed as it is now, the slots of the schedule that are due, or past slots."""

    begin: Text | None = Field(default=None, alias="from")
    """Of a backfill: its first time."""

    end: Text | None = Field(default=None, alias="to")
    """Of a backfill: its last time; a bare date is all of it."""

    hindcast: bool = False
    """Of a backfill: score by the champion of now, not by that of each time."""

    @model_validator(mode="after")
    def _of_backfill(self) -> Self:
        backfill = self.mode == "backfill"
        for key, value in {"from": self.begin, "to": self.end}.items():
            if (value is None) == backfill:
                what = (
                    f"mode=backfill requires `{key}`"
                    if backfill
                    else f"`{key}` requires mode=backfill"
                )
                fix = "Write mode=backfill from=2025-03-01 to=2025-03-07."
                raise refuse("COMBINATION", what, fix)
        if self.hindcast and not backfill:
            raise refuse(
                "COMBINATION", "`hindcast` only applies to mode=backfill", "Add mode=backfill."
            )
        return self


@command(
    groups=("source", "sink"),
    reads=("as_of", "horizon", "score", "schedule"),
    options=Options,
    sweeps=None,
)
def main(config: Config, options: Options) -> None:
    settings, feed, storage = config.settings, config.feed, config.storage
    rules, schedule = settings.score, settings.schedule
    if settings.as_of and options.mode != "now":
        raise ConfigError(
            "COMBINATION",
            f"`as_of` is {settings.as_of}, but mode={options.mode} takes the time from its slots.",
            "Leave `as_of` out (params.yaml: null).",
        )
    if options.mode == "due":
        from gatecast.schedule import clock

        tick = clock.run_due(feed, schedule, rules=rules, recipe=storage)
        print(f"score: {tick.text()}")
        if tick.run_keys:
            from gatecast.reports import page

            for key in tick.run_keys:
                print(page.after(feed.name, key, storage, rules.show))
        tick.check()
    elif options.mode == "backfill":
        from gatecast.schedule import backfill

        span = backfill.Span(str(options.begin), str(options.end), options.hindcast)
        done = backfill.run_span(span, feed, schedule, settings.horizon, rules, storage)
        print(f"score: {done.text()}")
        done.check()
    else:
        from gatecast.reports import page
        from gatecast.reports import scoring as report
        from gatecast.scoring import run

        runs, errors = run.score_all(feed, settings.as_of, rules, storage)
        for scored in runs:
            print(report.text(scored, settings.horizon))
            if scored.fresh:
                print(page.after(feed.name, scored.manifest["run_key"], storage, rules.show))
        if errors:
            first, *others = errors.values()
            for error in others:
                print(f"\n{full_text(error)}", file=sys.stderr)
            raise first
