"""The metrics of the leaderboard by name: statistic × aggregation. Lower is better, except for coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from gatecast.evaluation.metrics import statistics as of
from gatecast.evaluation.metrics.aggregations import (
    Aggregation,
    mean_of_series,
    mean_of_values,
    ratio_of_sums,
    root_mean_of_series,
)
from gatecast.evaluation.metrics.statistics import Statistic

Number = TypeVar("Number", float, np.ndarray, pd.Series)


@dataclass(frozen=True)
class Metric:
    """A score: a statistic of every (window, step), and how its values are aggregated.

    Attributes:
        statistic: see :mod:`gatecast.evaluation.metrics.statistics`.
        aggregation: see :mod:`gatecast.evaluation.metrics.aggregations`.
        by_step: whether it is kept for each step of the horizon, too.
    """

    statistic: Statistic
    aggregation: Aggregation
    by_step: bool = False


METRICS: dict[str, Metric] = {
    "mase": Metric(of.scaled_error, mean_of_series, by_step=True),
    "smape": Metric(of.percentage_error, mean_of_series, by_step=True),
    "rmsse": Metric(of.scaled_squared_error, root_mean_of_series, by_step=True),
    "wape": Metric(of.absolute_error, ratio_of_sums, by_step=True),
    "bias": Metric(of.signed_error, ratio_of_sums),
    "wql": Metric(of.decile_loss, ratio_of_sums, by_step=True),
    "msis": Metric(of.scaled_interval_score, mean_of_series, by_step=True),
    "mse_z": Metric(of.standardised_squared_error, mean_of_values),
    "mae_z": Metric(of.standardised_error, mean_of_values),
    "coverage_95": Metric(of.covered("95"), mean_of_values, by_step=True),
    "width_95": Metric(of.interval_width("95"), ratio_of_sums),
    "coverage_80": Metric(of.covered("80"), mean_of_values, by_step=True),
    "width_80": Metric(of.interval_width("80"), ratio_of_sums),
}


def owa(smape: Number, mase: Number, smape_of: Number, mase_of: Number) -> Number:
    """Overall weighted average: the mean of both scores relative to a reference's (M4, Makridakis et al. 2020).

    M4's reference is Naive2; the leaderboard's is seasonal naive on the same origins.

    Args:
        smape, mase: of the forecast.
        smape_of, mase_of: of the reference.
    """
    return (smape / smape_of + mase / mase_of) / 2


def skill(score: Number, reference: Number) -> Number:
    """1 - score / the reference's score: the share of its error that is gone."""
    return 1 - score / reference
