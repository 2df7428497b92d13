"""Promote the best variant in the registry if it passes the gate; else say why not.

Variants that forecast an event are compared by themselves, and have a champion of their own.
mode=rollback makes the previous champion the champion again (reason="…" is noted in the ledger); a second
rollback undoes it.
mode=rollback event=true does so with the champion of events.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.schema import Schema, Text, refuse

PANEL, REPORTS, MODELS = Path("data/panel"), Path("reports"), Path("models")


class Options(Schema):
    """What happens to the champion."""

    mode: Literal["promote", "rollback"] = "promote"
    """Judge the best variant, or go back to the previous champion."""

    reason: Text = ""
    """Why a rollback is made; noted in the ledger."""

    event: bool = False
    """Roll back the champion that forecasts an event."""

    @model_validator(mode="after")
    def _of_rollback(self) -> Self:
        for key in ("reason", "event"):
            if getattr(self, key) and self.mode != "rollback":
                what = f"`{key}` only applies to mode=rollback"
                raise refuse("COMBINATION", what, "Add mode=rollback.")
        return self


@command(groups=("source",), reads=("as_of", "promote"), options=Options)
def main(config: Config, options: Options) -> None:
    from gatecast.core.forecast import Task
    from gatecast.registry import aliases, gate
    from gatecast.reports import overview

    if options.mode == "rollback":
        task: Task = "event" if options.event else "quantile"
        moved = aliases.rollback(config.settings.source, options.reason, task)
        print(f"promote: champion of {moved['model']} is version {moved['champion']} again")
        print(f"promote: previous is version {moved['champion_before']}: {moved['reason']}")
        overview.update(config.settings.source, REPORTS)
        return

    # A comparison needs torch; a rollback does not wait for it.
    from gatecast.data.panel import Panel
    from gatecast.data.recorded import widened
    from gatecast.registry import promotion
    from gatecast.registry.mlflow import runs
    from gatecast.reports import promotion as report

    panel = Panel.load(PANEL)
    runs.close_dead_runs(panel.meta.source)
    panel_for = partial(widened, panel, feed=config.feed, as_of=config.settings.as_of)
    facts, errors = promotion.decide(panel, REPORTS, MODELS, config.settings.promote, panel_for)
    report.write(REPORTS / "promotion.json", facts)
    for made in filter(None, (facts, facts["event"])):
        champion = f"version {made['champion']}" if made["champion"] else "none"
        is_now = "stays" if made["verdict"] == gate.FAILED else f"is {champion}"
        print(
            f"promote: {made['challenger'] or made['model']}: {made['verdict']}: {made['reason']}"
        )
        print(f"promote: champion of {made['model']} {is_now} -> {REPORTS / 'promotion.md'}")
    overview.update(panel.meta.source, REPORTS)
    if errors:
        raise errors[0]
