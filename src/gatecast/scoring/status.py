"""What there is, for somebody who has just sat down: one line a thing, and what to do where it is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from gatecast.config import Feed
from gatecast.data import files
from gatecast.errors import GatecastError
from gatecast.evaluation import event_board, leaderboard
from gatecast.ledger import Ledger, shown
from gatecast.registry import promotion, tracking
from gatecast.scoring import store


def report(feed: Feed, as_of: str | None = None) -> str:
    """Lines for the terminal. Never raises for what is merely missing."""
    lines: dict[str, Callable[[], str]] = {
        "source": lambda: _source(feed, as_of),
        "panel": lambda: _panel(feed),
        "leaderboard": lambda: _leaderboard(feed),
        "champion": lambda: _champion(feed),
        "forecasts": lambda: _forecasts(feed),
        "store": lambda: _store(feed),
        "free disk": lambda: f"{shutil.disk_usage('.').free / 2**30:.1f} GiB",
    }
    out = []
    for name, say in lines.items():
        try:
            text = say()
        except GatecastError as error:
            text = str(error)
        out.append(f"{name:12s} {text}")
    return "\n".join(out)


def _source(feed: Feed, as_of: str | None) -> str:
    found = files.fingerprint(feed, as_of)["files"]
    said = [
        f"{f['name']} ({f['bytes'] / 1e6:.1f} MB)" if "bytes" in f else f"{f['name']} (embedded)"
        for f in found
    ]
    return f"{feed.name}: {', '.join(said)}"


def _panel(feed: Feed) -> str:
    from gatecast.data.panel import Panel

    panel = Panel.load(Path("data/panel"))
    m = panel.meta
    other = "" if m.source == feed.name else f" (of source {m.source}: run `dvc repro`)"
    return f"{panel.n_series:,} series to {panel.axis[panel.last - 1]}, horizon {m.horizon}, every {m.frequency}{other}"


def _leaderboard(feed: Feed) -> str:
    path = Path("reports/leaderboard.json")
    if not path.is_file():
        return "none yet: run `dvc repro`"
    board = json.loads(path.read_text(encoding="utf-8"))
    table = leaderboard.read(Path("reports"))
    title = f"{board['source']}, {board['origins']:,} windows, horizon {board['horizon']}, by {board['metric']}"
    return "\n\n" + leaderboard.render(table, title) + "\n" + _events()


def _events() -> str:
    """The board of events, if any variant forecasts one."""
    reports = Path("reports")
    if not (reports / "events.csv").is_file() or (table := event_board.read(reports)).empty:
        return ""
    return "\n" + event_board.render(table, "events, by brier") + "\n"


def _store(feed: Feed) -> str:
    tracking.close_dead_runs(feed.name)
    return f"{shown(tracking.uri())} (ledger: {shown(Ledger().uri)})"


def _champion(feed: Feed) -> str:
    best = promotion.champion(feed.name)
    past = Ledger().entries("promotion", tracking.model_name(feed.name))
    last = (
        f"; last decision {past[-1].at}: {past[-1].facts['challenger']} {past[-1].facts['verdict']}"
        if past
        else ""
    )
    if best is None:
        return f"none: nothing of {feed.name} has been promoted{last}"
    return f"{best.model} v{best.version} ({best.variant}, {best.digest[:12]}){last}"


def _forecasts(feed: Feed) -> str:
    published = store.runs(feed.name)
    if not published:
        return "none yet: run `python pipelines/score.py`"
    m = published[-1]
    where = store.FORECASTS / m["source"] / m["run_key"]
    last = f"{m['series']:,} series from {m['cutoff']} by v{m['version']}"
    return f"{len(published)} runs; last {m['scored_at'][:19]}: {last} -> {where}"
