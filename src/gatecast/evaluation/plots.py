"""Pictures of a comparison (error by step, fans of three series, reliability of events) and of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gatecast.core.forecast import QUANTILES, Predictor, QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import history, targets
from gatecast.evaluation.backtest import Backtest, Result
from gatecast.evaluation.config import BASELINES, EVENT_BASELINES
from gatecast.evaluation.metrics import INTERVALS

if TYPE_CHECKING:
    from gatecast.evaluation.events import EventResult


def _axes(columns: int, width: float, height: float):  # type: ignore[no-untyped-def]
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, columns, figsize=(width, height), layout="constrained", squeeze=False
    )
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    return figure, axes[0]


def error_by_step(results: list[Result], metric: str, path: Path) -> None:
    """Main score against the horizon step, one line per predictor."""
    figure, (ax,) = _axes(1, 9, 4.5)
    for r in results:
        style = (
            {"color": "0.55", "linestyle": "--" if r.name == "naive" else ":"}
            if r.name in BASELINES
            else {}
        )
        ax.plot(r.steps["step"], r.steps[metric], label=r.name, linewidth=1.8, **style)
    highest = np.array([r.steps[metric].max() for r in results], float)
    highest = highest[np.isfinite(highest) & (highest > 0)]
    if len(highest):
        ax.set_ylim(0, 2.5 * highest.min())
    ax.set(
        xlabel="step of the horizon",
        ylabel=metric.upper(),
        title="Error by step (same origins for all)",
    )
    ax.legend(ncols=3, frameon=False)
    _save(figure, path)


def calibration(results: list[Result], path: Path) -> None:
    """Share of the targets below each forecast quantile, one line per predictor; on the diagonal it is the level."""
    figure, (ax,) = _axes(1, 6, 5)
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for k, r in enumerate(results):
        grey = {"color": "0.55", "linestyle": "--" if k else ":"} if r.name in BASELINES else {}
        ax.plot(QUANTILES, r.scores.calibration(), marker="o", markersize=3, label=r.name, **grey)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="quantile level", ylabel="share of targets below it")
    ax.set_title("Calibration (same origins for all)", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    _save(figure, path)


def choose(series: pd.DataFrame) -> dict[str, int]:
    """An easy, a typical and the worst series: the tenth, the middle and the last percentile by error.

    Args:
        series: scores of a result, one row per series.
    """
    order = series["mase"].fillna(series["wape"]).sort_values().index
    ranks = {"easy": 0.1, "typical": 0.5, "worst": 1.0}
    chosen = {word: int(order[int(q * (len(order) - 1))]) for word, q in ranks.items()}
    return {word: s for word, s in chosen.items() if word == "typical" or s != chosen["typical"]}


def fans(
    backtest: Backtest, predictor: Predictor, result: Result, series: dict[str, int], path: Path
) -> None:
    """Forecast fans of the last origin of the chosen series (see :func:`choose`), which are forecast again."""
    panel = backtest.panel
    numbers = np.array(list(series.values()))
    last = np.searchsorted(backtest.windows.series, numbers, side="right") - 1
    forecast = backtest.forecast(predictor, last)
    figure, axes = _axes(len(series), 4 * len(series) + 1, 3.4)
    for k, (ax, (word, number)) in enumerate(zip(axes, series.items(), strict=True)):
        _fan(ax, panel, forecast, k)
        mase = result.series.loc[number, "mase"]
        ax.set_title(
            f"{word}: {str(panel.ids[number])[:24]} (MASE {mase:.2f})",
            fontsize=9,
            parse_math=False,
        )
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{result.name}: last origin of the test span")
    _save(figure, path)


def _fan(ax, panel: Panel, forecast: QuantileForecast, k: int) -> None:  # type: ignore[no-untyped-def]
    """The k-th window of a forecast."""
    window = forecast.windows[k : k + 1]
    length = min(int(window.origin[0]), max(3 * panel.meta.season_length, 2 * panel.meta.horizon))
    start = int(panel.position[window.series[0]] + window.origin[0])
    past, ahead = panel.axis[start - length : start], panel.axis[start : start + panel.meta.horizon]
    values = forecast.values[k]
    ax.plot(past, history(panel, window, length)[0], color="0.25", linewidth=1)
    ax.plot(ahead, targets(panel, window)[0], color="0.25", linewidth=1, label="actual")
    for name, alpha in (("95", 0.18), ("80", 0.3)):
        low, high = INTERVALS[name]
        ax.fill_between(
            ahead,
            values[:, low],
            values[:, high],
            color="C0",
            alpha=alpha,
            linewidth=0,
            label=f"{name} %",
        )
    ax.plot(ahead, forecast.median[k], color="C0", linewidth=1.6, label="median")
    ax.tick_params(axis="x", rotation=25, labelsize=7)


def reliability(results: list[EventResult], path: Path) -> None:
    """How often the event happened among forecasts of about the same probability, and how many of these there were.

    On the diagonal a probability means what it says; above it the event is more frequent than forecast.
    """
    figure, (ax, counts) = _axes(2, 11, 4.6)
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for k, r in enumerate(results):
        grey = r.name.split(" ")[0] in EVENT_BASELINES
        style = {"color": "0.55", "linestyle": "--" if k else ":"} if grey else {}
        label = f"{r.name} (Brier {r.pooled['brier']:.3f})"
        ax.plot(*r.curve[["forecast", "observed"]].T.to_numpy(), marker="o", label=label, **style)
        counts.plot(r.curve["forecast"], r.curve["n"], marker="o", label=r.name, **style)
    which = ", ".join(dict.fromkeys(r.words for r in results)) or "no variant forecasts an event"
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="forecast probability", ylabel="share that happened")
    ax.set_title(f"Reliability: {which}", fontsize=10)
    counts.set(xlim=(0, 1), xlabel="forecast probability", ylabel="windows")
    counts.set_title("How often it was forecast", fontsize=10)
    if results:
        ax.legend(frameon=False, fontsize=8)
    _save(figure, path)


def search(
    scores: list[tuple[int, float, str]],
    importances: dict[str, float],
    base: float | None,
    title: str,
    path: Path,
) -> None:
    """Scores of a search's trials in their order with the best so far, and which settings made the difference.

    Args:
        scores: (trial, score, state) of each, ``complete`` or ``pruned``; less is better.
        importances: share by setting; may be empty.
        base: the score to beat, if there is one.
        title: what is searched by what.
        path: of the PNG.
    """
    figure, (left, right) = _axes(2, 11, 4)
    ended = [(number, score) for number, score, its in scores if its == "complete"]
    top = 1.02 * max(score for _, score in ended)  # what was pruned may lie far above
    pruned = [(number, min(score, top)) for number, score, its in scores if its == "pruned"]
    left.scatter(*zip(*ended, strict=True), s=24, color="C0", label="complete")
    if pruned:
        left.scatter(*zip(*pruned, strict=True), s=24, color="0.5", marker="x", label="pruned")
    best = np.minimum.accumulate([score for _, score in ended])
    left.step([number for number, _ in ended], best, where="post", color="C1", label="best so far")
    if base is not None:
        left.axhline(base, color="0.5", linestyle=":", label="the recipe itself")
    left.set(xlabel="trial", ylabel="validation score", title=title)
    left.legend(frameon=False, fontsize=8)
    names = sorted(importances, key=lambda name: importances[name])
    right.barh(names, [importances[name] for name in names], color="C0")
    right.set(title="importance" if names else "importance: too few trials have ended")
    _save(figure, path)


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
