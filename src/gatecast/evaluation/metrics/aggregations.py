"""Aggregations: how the sums of a statistic become a score.

An aggregation is a pure function of the sums of each series to a numerator and a denominator, and

    numerator / denominator                 is the score of each series,
    Σ numerator / Σ denominator             over series the pooled one, at each step the score by step,
    Σ w·numerator / Σ w·denominator         that of a resample in which a series counts w times.

So one definition serves the leaderboard, the tables per series and per step, segments, and the gate's bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sums:
    """Sums over the values of a statistic, (…) each.

    Attributes:
        total: of the statistic.
        count: how many values are known.
        size: of |y|.
    """

    total: np.ndarray
    count: np.ndarray
    size: np.ndarray

    @classmethod
    def zeros(cls, *shape: int) -> Sums:
        """Nothing summed yet."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def __getitem__(self, which: Any) -> Sums:
        return Sums(self.total[which], self.count[which], self.size[which])

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.total + other.total, self.count + other.count, self.size + other.size)

    def __matmul__(self, weights: np.ndarray) -> Sums:
        """(S, C) sums under (C, B) weights: (S, B)."""
        return Sums(self.total @ weights, self.count @ weights, self.size @ weights)


Terms = tuple[np.ndarray, np.ndarray]
Aggregation = Callable[[Sums], Terms]


def mean_of_series(s: Sums) -> Terms:
    """Mean over series of the mean of their values: every series counts as one."""
    return ratio(s.total, s.count, 0.0), s.count > 0


def root_mean_of_series(s: Sums) -> Terms:
    """Mean over series of the root of the mean of their values."""
    return np.sqrt(ratio(s.total, s.count, 0.0)), s.count > 0


def ratio_of_sums(s: Sums) -> Terms:
    """Sum of all values over the sum of |y|: series count by their size."""
    return s.total, s.size


def mean_of_values(s: Sums) -> Terms:
    """Mean of all values: series count by their length."""
    return s.total, s.count


def ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Numerator / denominator, and ``otherwise`` where the denominator is 0."""
    out = np.full(np.shape(numerator), otherwise)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)
