"""List what can go: versions beyond `registry.keep`, and runs that died. With apply=true it goes.

python pipelines/housekeeping.py
python pipelines/housekeeping.py apply=true

Never archived: a version with an alias, and one that forecasts of the last `registry.days` days were written by.
"""

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("sink",))
def main(config: Config) -> None:
    from gatecast.core.forecast import TASKS
    from gatecast.registry import retention
    from gatecast.registry.mlflow import runs, store
    from gatecast.reports import lineage
    from gatecast.scoring import sinks

    assert config.storage is not None
    rules, sink = config.registry, sinks.sink(config.storage)
    if config.apply:
        runs.close_dead_runs(config.source)
    for task in TASKS:
        name = store.model_name(config.source, task)
        used = lineage.recently_used(config.source, rules.days, sink, task)
        steps = retention.plan(name, rules.keep, used)
        if not steps and task == "event":
            continue
        for step in steps:
            done = step.action
            if step.action == "archive" and config.apply:
                done = "archived" if retention.archive(name, step.version) else "keep"
            print(f"  version {step.version}: {done}: {step.why}")
        gone = sum(step.action == "archive" for step in steps)
        what = "archived" if config.apply else "would be archived (apply=true does it)"
        print(f"housekeeping: {name}: {gone} of {len(steps)} versions with artifacts {what}")


if __name__ == "__main__":
    main()
