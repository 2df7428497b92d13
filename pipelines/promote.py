"""Promote the best variant in the registry if it passes the gate; else say why not.

Variants that forecast an event are compared by themselves, and have a champion of their own.
mode=rollback makes the previous champion the champion again (reason="…" is noted in the ledger); twice returns.
mode=rollback event=true does so with the champion of events.
"""

from pathlib import Path

from gatecast.cli import entry
from gatecast.config import Config

PANEL, REPORTS, MODELS = Path("data/panel"), Path("reports"), Path("models")


@entry(modes=("promote", "rollback"))
def main(config: Config) -> None:
    from gatecast.core.forecast import Task
    from gatecast.data.panel import Panel
    from gatecast.registry import aliases, gate, promotion
    from gatecast.registry.mlflow import runs
    from gatecast.reports import promotion as report

    if config.mode == "rollback":
        task: Task = "event" if config.event else "quantile"
        moved = aliases.rollback(config.source, config.reason, task)
        print(f"promote: champion of {moved['model']} is version {moved['champion']} again")
        print(f"promote: previous is version {moved['champion_before']}: {moved['reason']}")
        return
    panel = Panel.load(PANEL)
    runs.close_dead_runs(panel.meta.source)
    facts, errors = promotion.decide(panel, REPORTS, MODELS, config.promote)
    report.write(REPORTS / "promotion.json", facts)
    for made in filter(None, (facts, facts["event"])):
        champion = f"version {made['champion']}" if made["champion"] else "none"
        is_now = "stays" if made["verdict"] == gate.FAILED else f"is {champion}"
        print(
            f"promote: {made['challenger'] or made['model']}: {made['verdict']}: {made['reason']}"
        )
        print(f"promote: champion of {made['model']} {is_now} -> {REPORTS / 'promotion.md'}")
    if errors:
        raise errors[0]


if __name__ == "__main__":
    main()
