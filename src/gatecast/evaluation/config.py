"""Settings of the backtest, and reserved names: metrics, baselines."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from gatecast.core.schema import Schema

BASELINES = ("naive", "seasonal_naive")


PERSISTENCE, LOGISTIC = EVENT_BASELINES = ("persistence", "logistic")


Metric = Literal["mase", "smape", "rmsse", "wape", "wql", "msis"]

METRICS: tuple[Metric, ...] = get_args(Metric)


class BacktestSettings(Schema):
    """Rolling origins of the comparison."""

    stride: int | None = Field(default=None, ge=1)
    """Rows between two origins; null: the recipe's, else the horizon."""
