"""Mean and spread of covariates, measured on the training span in one pass."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from gatecast.data.panel import FUTURE, PAST, STATIC, Panel, numeric
from gatecast.data.windows import training_rows


@dataclass(frozen=True)
class Scaling:
    """Mean and spread of every numeric covariate over the training span, in the order of the channels."""

    past: list[tuple[float, float]]
    known: list[tuple[float, float]]
    static: list[tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Scaling:
        return cls(**{k: [(float(a), float(b)) for a, b in v] for k, v in content.items()})


def fit_scaling(panel: Panel) -> Scaling:
    """Measure covariates on the training span (every series up to its own training end)."""
    channels = panel.meta.channels
    moments = {i: _Moments() for role in (PAST, FUTURE) for i in numeric(channels, role)}
    for rows, training in training_rows(panel) if moments else ():
        values = panel.values[rows][training]
        for i, column in moments.items():
            column.add(values[:, i])
    of_static = {i: _Moments() for i in numeric(panel.meta.static, STATIC)}
    for i, column in of_static.items():
        column.add(panel.static[:, i])
    past, known = ([moments[i].scaling for i in numeric(channels, r)] for r in (PAST, FUTURE))
    return Scaling(past, known, [column.scaling for column in of_static.values()])


class _Moments:
    """Mean and spread of numbers that come in parts (Chan, Golub & LeVeque 1979, equation 2.1)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, column: np.ndarray) -> None:
        """Take in the finite numbers of a column."""
        x = column[np.isfinite(column)].astype(np.float64)
        if not len(x):
            return
        mean, total = float(x.mean()), self.count + len(x)
        away = mean - self.mean
        self.squares += float(np.square(x - mean).sum()) + away**2 * self.count * (len(x) / total)
        self.mean += away * (len(x) / total)
        self.count = total

    @property
    def scaling(self) -> tuple[float, float]:
        """Mean and spread; (0, 1) without numbers, spread 1 if they are all the same."""
        return self.mean, sqrt(self.squares / max(self.count, 1)) or 1.0
