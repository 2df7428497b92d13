"""What came true: published forecasts beside the actuals that have arrived since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core import atomic
from gatecast.core.errors import ScoringError
from gatecast.core.forecast import PROBABILITY, Event, QuantileForecast, say
from gatecast.core.numbers import finite
from gatecast.data import ingest, sources
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed, FileFeed
from gatecast.data.panel import Panel
from gatecast.data.sources.files import start_axis
from gatecast.data.windows import Windows, targets
from gatecast.evaluation import events, metrics
from gatecast.evaluation.table import from_table
from gatecast.scoring import store
from gatecast.scoring.sinks import Sink

REPORT = Path("reports/actuals.json")


def monitor(feed: Feed, as_of: str | None = None, sink: Sink | None = None) -> dict[str, Any]:
    """Score every published run of a source against the values known by now.

    Values come from the feed as it is now and, where the recipe names one, from its ``actuals`` file.

    Returns:
        ``{"source": …, "runs": [{"run_key", "task", "version", "cutoff", "scores" or null, …}]}``, also in
        ``reports/actuals.json``. ``scores`` is null while no value has arrived.

    Raises:
        ScoringError: NO-FORECASTS.
    """
    published = store.runs(feed.name, sink)
    if not published:
        raise ScoringError(
            "NO-FORECASTS",
            f"there are no published forecasts of {feed.name}.",
            "Run `gatecast score` first.",
        )
    # only the values count here, not what they are forecast from
    values = feed.model_copy(update={"covariates": Covariates(), "holidays": None})
    known = ingest.check_feed(values, as_of).observations[["unique_id", "ds", "y"]]
    extra = _actuals(values, known)
    if extra is not None:
        known = pd.concat([known, extra], ignore_index=True).sort_values(
            ["unique_id", "ds"], ignore_index=True
        )
    bare = Feed(
        name=feed.name,
        frequency=feed.frequency,
        timezone=feed.timezone,
        task=feed.task,
        calendar=False,
    )
    ids = known[["unique_id"]].drop_duplicates()
    panels: dict[tuple[int, int], Panel] = {}
    report = []
    for run in published:
        size = run["horizon"], run["season_length"]
        if size not in panels:
            panels[size] = build_panel(known, ids, bare, *size, feasible=False)
        facts = ("run_key", "model", "version", "variant", "cutoff", "scored_at")
        table = store.opened(sink).read(run)
        scores = _scores(panels[size], table, run)
        about = {"task": store.task_of(run), "kind": run.get("kind", "live")}
        if about["task"] == "event":
            about["event"] = run["event"]
        report.append({k: run[k] for k in facts} | about | scores)
    content = {"source": feed.name, "runs": report}
    atomic.write_json(REPORT, content)
    return content


def _actuals(feed: Feed, known: pd.DataFrame) -> pd.DataFrame | None:
    """The recipe's actuals, read by its rules; those of a feed without stamps follow each series' last value."""
    from gatecast.data import contract

    raw = sources.read_actuals(feed)
    if raw is None:
        return None
    rows = contract.check(raw, feed).observations
    if not isinstance(feed, FileFeed) or feed.start is None:
        return rows[["unique_id", "ds", "y"]]
    longest = int(known.groupby("unique_id").size().max() + rows.groupby("unique_id").size().max())
    axis = start_axis(feed, longest + 1)
    last = known[known["y"].notna()].groupby("unique_id")["ds"].max()
    rows = rows[rows["unique_id"].isin(last.index)]
    after = axis.get_indexer(pd.DatetimeIndex(rows["unique_id"].map(last))) + 1
    return rows.assign(ds=axis[after + axis.get_indexer(pd.DatetimeIndex(rows["ds"]))])


def _scores(now: Panel, table: pd.DataFrame, run: dict[str, Any]) -> dict[str, Any]:
    """Scores of one run's table on a panel that holds what is known now."""
    horizon = run["horizon"]
    table = table.sort_values(["unique_id", "step"], kind="stable")
    first = table.iloc[::horizon]
    code = pd.Index(now.ids).get_indexer(first["unique_id"])
    cutoff = (
        first["cutoff"].dt.tz_convert("UTC").dt.tz_localize(None)
        if first["cutoff"].dt.tz is not None
        else first["cutoff"]
    )
    position = now.axis.get_indexer(pd.DatetimeIndex(cutoff))
    there = (code >= 0) & (position >= 0)
    windows = Windows(code[there], position[there] + 1 - now.position[code[there]])
    y = targets(now, windows)
    arrived = int((~np.isnan(y)).sum())
    out: dict[str, Any] = {"forecasts": len(table), "actuals": arrived, "scores": None}
    if arrived and store.task_of(run) == "event":
        probability = table[PROBABILITY].to_numpy(np.float64).reshape(-1, horizon)[there]
        scores = _event_scores(probability, y, run["event"])
        if scores["values_of_steps"]:
            out["scores"] = finite(scores, 6)
    elif arrived:
        forecast = QuantileForecast(from_table(table, horizon)[there], windows)
        out["scores"] = finite(_quantile_scores(now, forecast, y), 6)
    return out


def _quantile_scores(now: Panel, forecast: QuantileForecast, y: np.ndarray) -> dict[str, float]:
    """Scores by name; scales are from before the cutoff."""
    windows = forecast.windows
    end = np.zeros(now.n_series, np.int64)
    end[windows.series] = windows.origin
    pooled = metrics.score(y, forecast, metrics.scales(now, end)).pooled()
    return {k: float(v) for k, v in pooled.items() if not k.endswith("_z")}


def _event_scores(p: np.ndarray, y: np.ndarray, event: Event) -> dict[str, float]:
    """Scores by name, as on the board: of the last step, so of the horizons that are complete.

    ``brier_of_steps`` and ``values_of_steps`` are of all steps up to each series' newest value: a step that is still
    to come counts nowhere.

    Args:
        p: (n, H) probabilities that the event has happened by each step.
        y: (n, H) what is known now, NaN elsewhere.
        event: which.
    """
    to_come = np.isnan(y)[:, ::-1].cumprod(1)[:, ::-1] > 0
    label = np.where(to_come, np.nan, events.outcome(y, event))
    return events.scores(p[:, -1], label[:, -1]) | {
        "brier_of_steps": events.brier(p.ravel(), label.ravel()),
        "values_of_steps": float((~np.isnan(label)).sum()),
    }


def line(content: dict[str, Any]) -> str:
    """One line per run for the terminal."""
    lines = []
    for run in content["runs"]:
        event = run["task"] == "event"
        s = run["scores"]
        known = (s["values_of_steps"] if s else 0) if event else run["actuals"]
        text = (
            f"{run['model']} v{run['version']} ({run['variant']}) from {run['cutoff']}:"
            f" {known:,.0f} of {run['forecasts']:,} forecasts {'can be judged' if event else 'have come true'}"
        )
        if s and event:
            text += (
                f", Brier score {_show(s['brier_of_steps'])}; {say(run['event'])} happened in"
                f" {_percent(s['base_rate'])} of {s['values']:,.0f} complete horizons,"
                f" Brier score {_show(s['brier'])}, AUROC {_show(s['auroc'])}"
            )
        elif s:
            text += (
                f"; sMAPE {_show(s['smape'], 2)}, MASE {_show(s['mase'])}, WAPE {_show(s['wape'])},"
                f" 95 % interval holds {_percent(s['coverage_95'])}"
            )
        lines.append(text)
    return "\n".join(lines)


def _show(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
