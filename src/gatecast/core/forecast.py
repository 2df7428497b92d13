"""What every model answers: a :class:`Forecast`; what every model is: a :class:`Predictor`.

    forecast = predictor.predict(panel, windows)
    forecast.values[i, k, q]      # window i, step k + 1, quantile level q

Neural nets, naive baselines, the closed-form ridge and a model loaded from the registry are all predictors,
so one backtest, one gate and one scorer serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from gatecast.data.panel import Panel
    from gatecast.data.windows import Windows

QUANTILES: tuple[float, ...] = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
"""The one grid of quantile levels; 0.025 and 0.975 bound the 95 % interval, 0.1 and 0.9 the 80 % one."""

MEDIAN = QUANTILES.index(0.5)

Kind = Literal["quantile", "event"]
KINDS: tuple[Kind, ...] = ("quantile", "event")


@dataclass(frozen=True)
class Forecast:
    """Forecasts of some windows.

    Attributes:
        values: (n, horizon, k) float32, in the units of the target.
        windows: the n (series, origin) pairs they belong to.
        levels: (k,) quantile levels, ascending; one level for an event forecast.
        kind: ``quantile``, or ``event`` (values are P(event by step), non-decreasing in the step).
    """

    values: np.ndarray
    windows: Windows
    levels: tuple[float, ...] = QUANTILES
    kind: Kind = "quantile"

    @property
    def point(self) -> np.ndarray:
        """(n, horizon) the median."""
        return self.values[..., MEDIAN]


class Predictor(Protocol):
    """Anything that forecasts windows of a panel."""

    name: str
    horizon: int

    def predict(self, panel: Panel, windows: Windows) -> Forecast:
        """Forecast ``horizon`` steps from each origin, seeing nothing at or after it but known covariates."""
        ...
