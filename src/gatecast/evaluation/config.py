"""Settings of the backtest, and reserved names: metrics, baselines."""

from __future__ import annotations

from dataclasses import dataclass

BASELINES = ("naive", "seasonal_naive")


PERSISTENCE, LOGISTIC = EVENT_BASELINES = ("persistence", "logistic")


METRICS = ("mase", "smape", "rmsse", "wape", "wql", "msis")


@dataclass
class Backtest:
    """Rolling origins of the comparison: rows between two origins (null: the recipe's, else the horizon)."""

    stride: int | None = None
