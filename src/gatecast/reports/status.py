"""The state of a project at a glance: one line per thing, and what to do where it is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gatecast.core import terminal
from gatecast.core.errors import GatecastError
from gatecast.core.forecast import Task, say
from gatecast.core.ledger import Entry, Ledger, display
from gatecast.data import sources
from gatecast.data.config import Feed
from gatecast.evaluation import event_board, leaderboard
from gatecast.evaluation.config import PERSISTENCE
from gatecast.registry import aliases, gate
from gatecast.registry.champion import Champion, champion
from gatecast.registry.mlflow import runs, store
from gatecast.reports import history
from gatecast.scoring import config, sinks

# Decisions in the table.
_DECISIONS = 5


def report(feed: Feed, as_of: str | None = None, recipe: config.SinkSettings | None = None) -> str:
    """The lines for the terminal. What is missing is a line, too, never an error."""
    lines: dict[str, Callable[[], str]] = {
        "source": lambda: _source(feed, as_of),
        "panel": lambda: _panel(feed),
        "leaderboard": lambda: _leaderboard(feed),
        "champion": lambda: _champion(feed, "quantile"),
        "event": lambda: _champion(feed, "event"),
        "forecasts": lambda: _forecasts(feed, recipe or config.SinkSettings()),
        "store": lambda: _store(feed),
        "free disk": lambda: f"{shutil.disk_usage('.').free / 2**30:.1f} GiB",
    }
    out = []
    for name, line in lines.items():
        try:
            text = line()
        except GatecastError as error:
            text = str(error)
        out += [f"{name:12s} {text}"] if text else []
    return "\n".join(out)


def _source(feed: Feed, as_of: str | None) -> str:
    files = [
        f"{f['name']} ({f['bytes'] / 1e6:.1f} MB)" if "bytes" in f else f"{f['name']} (embedded)"
        for f in sources.fingerprint(feed, as_of)["files"]
    ]
    return f"{feed.name}: {', '.join(files)}"


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
    runs.close_dead_runs(feed.name)
    return f"{display(store.uri())} (ledger: {display(Ledger().uri)})"


def _champion(feed: Feed, task: Task) -> str:
    """The current champion, since when, and why. Empty for event models until one was at the gate."""
    best, ledger = champion(feed.name, task=task), Ledger()
    model = store.model_name(feed.name, task)
    past = ledger.entries(aliases.KIND, model)
    if best is None and task == "event" and not past:
        return ""
    if best is None:
        text = f"none: nothing of {feed.name} has been promoted"
    else:
        text = (
            f"{best.model} v{best.version} ({best.variant}, {best.digest[:12]}){_since(past, best)}"
        )
    if move := aliases.interrupted(ledger, model):
        text += (
            f"; a move to v{move.facts['champion']} was interrupted: `gatecast promote` finishes it"
        )
    return text + (f"\n\n{_history(past)}\n" if past else "")


def _since(past: list[Entry], best: Champion) -> str:
    """How long the champion has been champion, and its scores when it was promoted."""
    mine = [e for e in past if e.facts.get("champion") == best.version]
    moved = [e for e in mine if e.facts["verdict"] in aliases.MOVES]
    scored = [e for e in mine if e.facts["verdict"] == gate.PROMOTE]
    text = f", champion for {_age(moved[-1].at)}" if moved else ""
    if scored:
        facts = scored[-1].facts
        scores = facts["scores"]
        floor = next(name for name in ("seasonal_naive", PERSISTENCE) if name in scores)
        text += (
            f"; {facts['metric']} {scores['challenger']:.3f} when promoted"
            f" ({floor.replace('_', ' ')} {scores[floor]:.3f})"
        )
    return text


def _age(at: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _history(past: list[Entry]) -> str:
    """The last decisions, newest first."""
    columns = ("when", "variant", "verdict", "champion", "by", "why")
    rows = []
    for entry in reversed(past[-_DECISIONS:]):
        facts = entry.facts
        version, variant = facts.get("champion"), facts.get("challenger") or "-"
        by, _, _ = str(facts.get("by", "")).partition(",")
        champion = f"v{version}" if version else "-"
        rows.append((entry.at[:16], variant, facts["verdict"], champion, by, facts["reason"]))
    return terminal.table("decisions, newest first", columns, rows, wrap=("why",), width=150)


def _forecasts(feed: Feed, recipe: config.SinkSettings) -> str:
    sink = sinks.sink(recipe)
    published = sink.manifests(feed.name)
    text = "none yet: run `gatecast score`"
    if published:
        m = published[-1]
        event = f" ({say(m['event'])})" if "event" in m else ""
        last = f"{m['series']:,} series from {m['cutoff']} by v{m['version']}{event}"
        where = sink.where(m["source"], m["run_key"])
        text = f"{len(published)} runs; last {m['scored_at'][:19]}: {last} -> {where}"
    runs = history.last(feed.name, sink, Ledger())
    return text + (f"\n\n{history.render(runs)}\n" if runs else "")
