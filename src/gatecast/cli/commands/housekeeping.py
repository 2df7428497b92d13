"""List what can go: versions beyond `registry.keep`, and runs that died. With apply=true it goes.

gatecast housekeeping
gatecast housekeeping apply=true

Never archived: a version with an alias, and one that forecasts of the last `registry.days` days were written by.
"""

from __future__ import annotations

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.schema import Schema


class Options(Schema):
    """What housekeeping may do."""

    apply: bool = False
    """Do it; else only say what would be done."""


@command(groups=("sink",), reads=("source", "registry"), options=Options, sweeps=None)
def main(config: Config, options: Options) -> None:
    from gatecast.core.forecast import TASKS
    from gatecast.registry import retention
    from gatecast.registry.mlflow import runs, store
    from gatecast.reports import lineage
    from gatecast.scoring import sinks

    source, rules = config.settings.source, config.settings.registry
    sink = sinks.sink(config.storage)
    if options.apply:
        runs.close_dead_runs(source)
    for task in TASKS:
        name = store.model_name(source, task)
        used = lineage.recently_used(source, rules.days, sink, task)
        steps = retention.plan(name, rules.keep, used)
        if not steps and task == "event":
            continue
        for step in steps:
            done = step.action
            if step.action == "archive" and options.apply:
                done = "archived" if retention.archive(name, step.version) else "keep"
            print(f"  version {step.version}: {done}: {step.why}")
        gone = sum(step.action == "archive" for step in steps)
        what = "archived" if options.apply else "would be archived (apply=true does it)"
        print(f"housekeeping: {name}: {gone} of {len(steps)} versions with artifacts {what}")
