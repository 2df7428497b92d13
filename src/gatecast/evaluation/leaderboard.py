"""The leaderboard: every variant and baseline on the same origins, best first.

reports/leaderboard.csv       one row per variant, for people and spreadsheets
reports/leaderboard.json      the same by name, with what was compared
reports/error_by_step.csv     variant, step, scores, for `dvc plots show`
reports/per_series.parquet    variant, unique_id, scores
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatecast.core import atomic, terminal
from gatecast.core.numbers import finite
from gatecast.data.panel import Panel
from gatecast.evaluation import metrics
from gatecast.evaluation.backtest import Backtest, Result
from gatecast.evaluation.config import BASELINES

# columns of the terminal table
SHOWN = (
    "mase",
    "skill",
    "owa",
    "smape",
    "rmsse",
    "wape",
    "bias",
    "wql",
    "msis",
    "coverage_95",
)
REFERENCE = "seasonal_naive"


def leaderboard(results: list[Result], metric: str) -> pd.DataFrame:
    """Order the results by the main metric, with ``skill`` and ``owa`` relative to seasonal naive's scores.

    Returns:
        Indexed by name, best first.
    """
    table = pd.DataFrame({r.name: r.pooled for r in results}).T
    reference = table.loc[REFERENCE]
    table.insert(1, "skill", metrics.skill(table[metric], reference[metric]))
    relative = metrics.owa(table["smape"], table["mase"], reference["smape"], reference["mase"])
    table.insert(2, "owa", relative)
    table["predict_seconds"] = [r.seconds for r in results]
    table.index.name = "variant"
    return table.sort_values(metric, kind="stable")


def write(
    folder: Path,
    results: list[Result],
    table: pd.DataFrame,
    panel: Panel,
    backtest: Backtest,
    metric: str,
    digests: dict[str, str],
    elsewhere: list[str] | None = None,
) -> None:
    """Write the report files; ``digests`` names the packages that were scored.

    ``elsewhere``: variants that forecast no quantiles, and so are scored on the board of events.

    Timings stay out: they would change the files at every run.
    """
    stable = table.drop(columns="predict_seconds")
    atomic.write_text(folder / "leaderboard.csv", stable.round(6).to_csv())
    best = winner(table)
    content: dict[str, Any] = {
        "source": panel.meta.source,
        "data_hash": panel.meta.data_hash,
        "metric": metric,
        "best": best,
        "horizon": panel.meta.horizon,
        "origins": len(backtest.windows),
        "series": len(results[0].scores.labels),
        "digests": digests,
        "elsewhere": elsewhere or [],
        "scores": finite(stable.to_dict("index"), digits=6),
    }
    atomic.write_json(folder / "leaderboard.json", content)
    steps = pd.concat([r.steps.assign(variant=r.name) for r in results], ignore_index=True)
    atomic.write_text(folder / "error_by_step.csv", steps.round(6).to_csv(index=False))
    _write_series(folder / "per_series.parquet", results, panel)


def _write_series(path: Path, results: list[Result], panel: Panel) -> None:
    """One row per variant and series, ``owa`` relative to seasonal naive's scores of that series."""
    reference = next(r for r in results if r.name == REFERENCE).series
    with atomic.file(path) as handle, ExitStack() as closing:
        writer = None
        for result in results:
            table = result.series
            relative = metrics.owa(
                table["smape"], table["mase"], reference["smape"], reference["mase"]
            )
            ids = panel.ids[table.index]
            table = table.assign(owa=relative, variant=result.name, unique_id=ids)
            rows = pa.Table.from_pandas(table, preserve_index=False)
            if writer is None:
                writer = closing.enter_context(pq.ParquetWriter(handle, rows.schema))
            writer.write_table(rows)


def read(folder: Path) -> pd.DataFrame:
    """The table that :func:`write` left in ``leaderboard.csv``."""
    return pd.read_csv(folder / "leaderboard.csv", index_col="variant")


def winner(table: pd.DataFrame, baselines: tuple[str, ...] = BASELINES) -> str | None:
    """The best variant that is not a baseline; None if there is none."""
    return next((str(name) for name in table.index if name not in baselines), None)


def render(
    table: pd.DataFrame,
    title: str,
    columns: Sequence[str] = SHOWN,
    baselines: tuple[str, ...] = BASELINES,
) -> str:
    """A table of scores for the terminal, best first; scores that an older report does not have are left out."""
    columns = [name for name in columns if name in table]
    best = winner(table, baselines)
    rows = [
        [f"{name} *" if name == best else str(name), *(_cell(c, row[c]) for c in columns)]
        for name, row in table.iterrows()
    ]
    return terminal.table(title, ["variant", *columns], rows, numbers=columns, wrap=("variant",))


def _cell(column: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "-"
    if column in ("skill", "bias", "coverage_80", "coverage_95", "base_rate"):
        return f"{100 * value:.1f}%"
    return f"{value:.2f}" if column == "smape" else f"{value:.3f}"
