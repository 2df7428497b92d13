"""Promote the best variant in the registry if it passes the gate; else say why not.

mode=rollback makes the previous champion the champion again (reason="…" is noted in the ledger); twice returns.
"""

from pathlib import Path

from gatecast.config import Config
from gatecast.entry import entry

PANEL, REPORTS, MODELS = Path("data/panel"), Path("reports"), Path("models")


@entry(modes=("promote", "rollback"))
def main(config: Config) -> None:
    from gatecast.data.panel import Panel
    from gatecast.registry import aliases, promotion, report, tracking

    if config.mode == "rollback":
        moved = aliases.rollback(config.source, config.reason)
        print(f"promote: champion of {moved['model']} is version {moved['champion']} again")
        print(f"promote: previous is version {moved['champion_before']}: {moved['reason']}")
        return
    panel = Panel.load(PANEL)
    tracking.close_dead_runs(panel.meta.source)
    facts = promotion.promote(panel, REPORTS / "leaderboard.json", MODELS, config.promote)
    report.write(REPORTS / "promotion.json", facts)
    for variant in facts["elsewhere"]:
        print(
            f"promote: {variant}: passed over: an event forecast, for the board reports/events.csv"
        )
    champion = f"version {facts['champion']}" if facts["champion"] else "none"
    challenger = f"{facts['challenger']}: " if facts["challenger"] else ""
    print(f"promote: {challenger}{facts['verdict']}: {facts['reason']}")
    print(f"promote: champion of {facts['model']} is {champion} -> {REPORTS / 'promotion.md'}")


if __name__ == "__main__":
    main()
