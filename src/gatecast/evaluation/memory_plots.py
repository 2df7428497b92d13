"""Pictures of what variants remember: sensitivity by lag and by encoder step, gates over a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history
from gatecast.evaluation.memory import SHARE, Sensitivity, within
from gatecast.evaluation.plots import _axes, _save
from gatecast.models.inputs import InputSpec


def sensitivity(results: list[Sensitivity], season_length: int, path: Path) -> None:
    """Sensitivity by lag, and the share of each encoder step, one colour per variant; dots close nine tenths of it.

    Args:
        results: of the variants, at least one.
        season_length: whose multiples are marked.
        path: of the PNG.
    """
    figure, (left, right) = _axes(2, 13, 5)
    longest = max(len(f.lags) for f in results)
    for k, f in enumerate(results):
        lag = np.arange(1, len(f.lags) + 1)
        last = within(f.lags)
        label = f"{f.name}: {SHARE:.0%} within {last:,}"
        left.plot(lag, f.lags, color=f"C{k}", linewidth=1, alpha=0.85, label=label)
        left.plot(last, f.lags[last - 1], "o", color=f"C{k}", markeredgecolor="white", zorder=3)
        if f.steps is not None:
            last = within(f.steps)
            label = f"{f.name}: {SHARE:.0%} within {last} of {len(f.steps)}"
            right.plot(f.steps, color=f"C{k}", linewidth=1.8, label=label)
            right.plot(
                last - 1, f.steps[last - 1], "o", color=f"C{k}", markeredgecolor="white", zorder=3
            )
    _log(left, np.concatenate([f.lags for f in results]))
    _log(right, np.concatenate([f.steps for f in results if f.steps is not None] or [np.ones(1)]))
    left.set_xticks(_seasons(longest, season_length))
    left.tick_params(axis="x", labelsize=7)
    left.set(
        xlabel=f"lag: rows before the first forecast step (a season is {season_length:,})",
        ylabel="mean |d forecast / d value|",
        title="Through all that a variant reads",
    )
    rows = sorted({f.rows for f in results if f.steps is not None})
    right.set(
        xlabel=f"encoder steps before the last (a step is {' or '.join(map(str, rows))} rows)",
        ylabel="share of the gradient",
        title="Through the recurrent state alone",
    )
    for ax in (left, right):
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _seasons(rows: int, season_length: int) -> np.ndarray:
    """Up to twenty multiples of the season, evenly spread over some rows."""
    return np.arange(0, rows + 1, season_length * max(1, -(-rows // season_length // 20)))[1:]


def _log(ax, values: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    """A logarithmic axis, unless nothing is above zero; no more than six decades of it."""
    if values.max() > 0:
        least = values[values > 0].min()
        ax.set_yscale("log")
        ax.set_ylim(max(least, 1e-6 * values.max()) / 1.5, 1.5 * values.max())


def gates(
    name: str,
    activations: dict[str, np.ndarray],
    spec: InputSpec,
    panel: Panel,
    window: Windows,
    path: Path,
) -> None:
    """A window of a series, the mean over units of each gate, and every unit: the most open on top.

    Args:
        name: of the variant.
        activations: (T, n) each, of :func:`gatecast.evaluation.memory.activations`; of a cell without gates its state.
        spec: of the net they are from.
        panel, window: what was forecast.
        path: of the PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    gated = {key: value for key, value in activations.items() if key != "state"}
    drawn = gated or {"state": activations["state"]}
    high = 1.0 if gated else max(1.0, float(np.abs(activations["state"]).max()))
    low, cmap = (0.0, "viridis") if gated else (-high, "RdBu_r")
    figure, axes = plt.subplots(
        2 + len(drawn),
        1,
        figsize=(10, 4 + 1.6 * len(drawn)),
        height_ratios=[1.5, 1] + [1.3] * len(drawn),
        sharex=True,
        layout="constrained",
    )
    series, lines, *maps = axes
    series.axvspan(-spec.n_read, 0, color="C1", alpha=0.12, linewidth=0)
    series.plot(
        np.arange(-spec.lookback, 0),
        history(panel, window, spec.lookback)[0],
        color="0.25",
        linewidth=1,
    )
    series.set(ylabel="value")
    edges = np.arange(-spec.n_steps, 1) * spec.stride  # a step stands above its newest rows
    middles = edges[:-1] + spec.stride / 2
    for key, value in drawn.items():
        lines.plot(middles, value.mean(1), marker=".", label=key)
    lines.set(ylabel="mean\nover units")
    lines.legend(frameon=False, fontsize=8, loc="center left")
    for ax, (key, value) in zip(maps, drawn.items(), strict=True):
        ordered = value[:, value.mean(0).argsort()].T  # (n, T)
        units = np.arange(len(ordered) + 1)
        mesh = ax.pcolormesh(edges, units, ordered, vmin=low, vmax=high, cmap=cmap, rasterized=True)
        ax.set(ylabel=f"{key}\n{len(ordered)} units", yticks=[])
    figure.colorbar(mesh, ax=maps, label="0 closed, 1 open" if gated else "state", aspect=30)
    maps[-1].set_xticks(-_seasons(spec.lookback, spec.season_length))
    maps[-1].tick_params(axis="x", labelsize=7)
    maps[-1].set_xlim(-spec.lookback, 0)
    for ax in (series, lines):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    maps[-1].set_xlabel(
        "rows before the forecast (a column is an encoder step; shaded: what the last one reads)"
    )
    stamp = panel.axis[panel.position[window.series[0]] + window.origin[0] - 1]
    what = "gates" if gated else "state, a cell without gates"
    title = f"{name}: {what}; series {str(panel.ids[window.series[0]])[:24]} up to {stamp}"
    figure.suptitle(title, fontsize=11, parse_math=False)
    _save(figure, path)
