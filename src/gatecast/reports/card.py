"""The model card of a package: Markdown, from the package, the backtest and the cost of the training.

It goes to ``reports/cards/``, to the training's run and to the registered version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gatecast.data.panel import FUTURE, PAST, TARGET, Panel, PanelMeta
from gatecast.evaluation import segments as by_segment
from gatecast.evaluation.backtest import Result
from gatecast.registry.mlflow import store

# Characters that a registry takes as a description.
LENGTH = 5000
_OVERALL = (
    *("mase", "smape", "rmsse", "wape", "bias", "wql", "msis"),
    *("coverage_80", "coverage_95"),
)
_EVENT = ("brier", "auroc", "log_loss", "skill", "base_rate")


def of(
    content: dict[str, Any],
    digest: str,
    panel: Panel,
    variant: Any,
    baseline: Any,
    cost: Mapping[str, float],
    segments: pd.DataFrame | None = None,
) -> str:
    """The card.

    Args:
        content: of ``package.json``.
        digest: of the package.
        panel: it was evaluated on.
        variant: its result, :class:`gatecast.evaluation.backtest.Result` or of an event
            :class:`gatecast.evaluation.events.EventResult`.
        baseline: the result of seasonal naive, or of persistence, on the same origins.
        cost: of its training, see :func:`gatecast.training.cost.stopwatch`; may be empty.
        segments: see :func:`segments`; none of an event.

    Returns:
        Markdown of at most :data:`LENGTH` characters.
    """
    meta, name = PanelMeta.from_json(content["panel"]), content["variant"]
    head = (
        f"# {name}: forecasts of {meta.source}\n\nPackage `{digest[:12]}`, seed {content['seed']}."
    )
    parts = [
        f"{head} Made by gatecast {content['gatecast']}.",
        f"## Intended use\n\n{_use(meta, content)}",
        f"## Data\n\n{_data(content, meta, panel)}",
        f"## Scores\n\n{_scores(variant, baseline)}",
        f"## Limits\n\n{_limits(content, meta, variant.pooled)}",
        f"## Training cost\n\n{_cost(content, cost)}",
        f"## How to load\n\n{_load(content, meta)}",
    ]
    if segments is not None:
        rest = LENGTH - len("\n\n".join(parts)) - 100
        parts.insert(4, f"## Scores by segment\n\n{_by_segment(segments, baseline.name, rest)}")
    return "\n\n".join(parts) + "\n"


def segments(panel: Panel, variant: Result, baseline: Result) -> pd.DataFrame:
    """Scores by segment, without those of fewer than one series in fifty.

    Returns:
        Indexed by the name of the segment: ``series``, ``mase``, ``wape``, ``coverage_95``, and the baseline's
        ``mase`` as ``baseline``.
    """
    rows = {}
    least = max(1, len(variant.scores.labels) // 50)
    for name, members in by_segment.segments(panel, variant.scores, least):
        scores = variant.scores.pooled(members)
        rows[name] = {
            "series": int(members.sum()),
            **{key: scores[key] for key in ("mase", "wape", "coverage_95")},
            "baseline": baseline.scores.pooled(members)["mase"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _use(meta: PanelMeta, content: dict[str, Any]) -> str:
    event = content["spec"].get("event")
    what = f"the probability of an event ({_words(event)})" if event else "quantiles of the target"
    target = next(c.name for c in meta.channels if c.role == TARGET)
    return (
        f"Forecasts {what}, `{target}`, for {meta.horizon} steps of `{meta.frequency}` from the last known value of "
        "any series of this source, new series included. Not for other sources, and not for what-if questions: "
        "covariates are read as signs, not as causes."
    )


def _words(event: dict[str, float]) -> str:
    return " ".join(f"{side} {threshold:g}" for side, threshold in event.items())


def _data(content: dict[str, Any], meta: PanelMeta, panel: Panel) -> str:
    span, known = content["trained_on"], int(panel.observed.sum())
    first, last = panel.axis[0], panel.axis[panel.last - 1]
    lines = [
        f"- source `{meta.source}`: {panel.n_series:,} series, {known:,} known values, {first} to {last}",
        f"- weights learnt from values from {span['from']} to before {span['weights']};"
        f" intervals from values before {span['intervals']}; what follows is the test span",
        f"- data hash `{meta.data_hash}`",
    ]
    return "\n".join(lines)


def _scores(variant: Any, baseline: Any) -> str:
    keys = [k for k in (*_OVERALL, *_EVENT) if k in variant.pooled]
    rows = [f"| {k} | {_number(variant.pooled[k])} | {_number(baseline.pooled[k])} |" for k in keys]
    return "\n".join(
        [
            f"{variant.n_windows:,} windows of the test span, the same for both.\n",
            f"| score | {variant.name} | {baseline.name} |",
            "|---|---|---|",
            *rows,
        ]
    )


def _by_segment(table: pd.DataFrame, baseline: str, length: int) -> str:
    """A table as long as the card allows; what does not fit is counted."""
    lines = [
        f"| segment | series | mase | {baseline} mase | wape | coverage_95 |",
        "|---|---|---|---|---|---|",
    ]
    for at, (name, row) in enumerate(table.iterrows()):
        shown = (row["mase"], row["baseline"], row["wape"], row["coverage_95"])
        text = str(name).replace("|", "\\|").replace("\n", " ")[:60]
        line = f"| {text} | {int(row['series']):,} | {' | '.join(map(_number, shown))} |"
        if len("\n".join([*lines, line])) > length:
            return "\n".join([*lines, f"\n{len(table) - at} more segments have no room here."])
        lines.append(line)
    return "\n".join(lines)


def _limits(content: dict[str, Any], meta: PanelMeta, scores: dict[str, float]) -> str:
    names = [
        c.name for c in (*meta.static, *(c for c in meta.channels if c.role in (PAST, FUTURE)))
    ]
    covariates = ", ".join(f"`{name}`" for name in names)
    known = f"; {covariates[:600]} count as unknown where they are left out" if names else ""
    zone = f"local to {meta.timezone}, or has an offset" if meta.timezone else "as in the feed"
    lines = [
        f"- horizon {meta.horizon} steps of `{meta.frequency}`; another needs a training of its own",
        f"- needs the columns `unique_id`, `ds`, `y`{known}",
        f"- `ds` is {zone}",
        "- refused, with a code: stamps off the grid, two values for one time, no value at all",
        "- a category it has not seen counts as unknown; a series with less history than"
        f" {content['spec']['season_length']} steps, a season, gets little more than a guess",
    ]
    if "coverage_95" in scores:
        lines.append(
            f"- its 95 % interval held {scores['coverage_95']:.1%} of the test span, its 80 % interval"
            f" {scores['coverage_80']:.1%}; after a break in the data they hold less"
        )
    return "\n".join(lines)


def _cost(content: dict[str, Any], cost: Mapping[str, float]) -> str:
    weights = f"{content['outcome'].get('parameters', 0):,} weights"
    if "train_cpu_seconds" not in cost:
        return f"{weights}; cost not known: the package was not trained in this store."
    text = (
        f"{weights}; {cost['train_cpu_seconds']:.1f} CPU seconds, {cost.get('train_gpu_seconds', 0):.1f} GPU seconds,"
        f" {cost['train_seconds']:.1f} s in all; peak memory {cost['train_peak_memory_mib']:,.0f} MiB"
    )
    gpu = cost.get("train_peak_gpu_memory_mib")
    return f"{text}, of the GPU {gpu:,.0f} MiB." if gpu else f"{text}."


def _load(content: dict[str, Any], meta: PanelMeta) -> str:
    name = store.model_name(meta.source, "event" if content["spec"].get("event") else "quantile")
    return f"""```python
import mlflow
model = mlflow.pyfunc.load_model("models:/{name}@champion")  # or /1, /2, …
table = model.predict(df)  # or predict(df, params={{"cutoff": "{meta.splits.get("validation_end", meta.first)}"}})
```"""


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.4g}"
