"""The board of event forecasts: every variant that forecasts one, beside persistence and logistic regression.

reports/events.csv         one row per variant, the smallest Brier score first
reports/events.json        the same by name, with what was compared
reports/reliability.png    how often it happened, against the forecast probability

Another threshold is another question: each event that is forecast has baselines of its own. Without any such variant
the files say so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gatecast.core import atomic
from gatecast.core.forecast import say
from gatecast.core.numbers import finite
from gatecast.data.panel import Panel
from gatecast.evaluation import leaderboard, plots
from gatecast.evaluation.config import EVENT_BASELINES

if TYPE_CHECKING:
    from gatecast.evaluation.events import EventResult
    from gatecast.evaluation.predictor import NetPredictor

COLUMNS = ["event", "auroc", "brier", "skill", "log_loss", "base_rate", "brier_of_steps", "values"]
SHOWN = COLUMNS[:-1]


def compare(panel: Panel, variants: list[NetPredictor]) -> list[EventResult]:
    """Run every variant, and the baselines of every event that one forecasts, on the same origins.

    A variant with the name of a baseline (``conf/model/logistic.yaml``) replaces it.
    """
    if not variants:
        return []
    from gatecast.evaluation.events import EventBacktest, baselines

    backtest = EventBacktest.of(panel)
    events = {say(variant.spec.event): variant.spec.event for variant in variants}
    results = []
    for words, event in events.items():
        there = {variant.name for variant in variants if variant.spec.event == event}
        for baseline in baselines(panel, event):
            if baseline.name not in there:
                name = baseline.name if len(events) == 1 else f"{baseline.name} {words}"
                results.append(replace(backtest.run(baseline, event), name=name))
    return results + [backtest.run(variant, variant.spec.event) for variant in variants]


def board(results: list[EventResult]) -> pd.DataFrame:
    """Scores by name, the smallest Brier score of each event first; empty without results."""
    rows = {r.name: {"event": say(r.event), **r.pooled} for r in results}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)
    table.index.name = "variant"
    return table.sort_values(["event", "brier"], kind="stable")


def write(folder: Path, results: list[EventResult], panel: Panel, digests: dict[str, str]) -> None:
    """Write the report files; ``digests`` names the packages that were scored.

    ``best``, in ``events.json``, is the package that goes to the gate; see :func:`winner`.
    """
    table = board(results)
    atomic.write_text(folder / "events.csv", table.round(6).to_csv())
    content: dict[str, Any] = {
        "source": panel.meta.source,
        "data_hash": panel.meta.data_hash,
        "best": winner(results, panel, digests),
        "horizon": panel.meta.horizon,
        "origins": results[0].n_windows if results else 0,
        "digests": digests,
        "scores": finite(table.to_dict("index"), digits=6),
    }
    atomic.write_json(folder / "events.json", content)
    plots.reliability(results, folder / "reliability.png")


def winner(results: list[EventResult], panel: Panel, digests: dict[str, str]) -> str | None:
    """The package with the smallest Brier score; None if there is none.

    Scores of different events say nothing of each other: the source's own counts, or else that of the first package.
    """
    packages = [r for r in results if r.name in digests]
    if not packages:
        return None
    forecast = [r.event for r in packages]
    event = panel.meta.event if panel.meta.event in forecast else forecast[0]
    scored = [r for r in packages if r.event == event]
    return min(scored, key=lambda r: (not np.isfinite(r.pooled["brier"]), r.pooled["brier"])).name


def read(folder: Path) -> pd.DataFrame:
    """The table that :func:`write` left in ``events.csv``."""
    return pd.read_csv(folder / "events.csv", index_col="variant")


def render(table: pd.DataFrame, title: str) -> str:
    """The board as a terminal table."""
    return leaderboard.render(table, title, SHOWN, EVENT_BASELINES)
