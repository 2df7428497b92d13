"""What every model returns, a :data:`Forecast`, and what every model is, a :class:`Predictor`.

    forecast = predictor.predict(panel, windows)
    forecast.values[i, k, q]       # of a QuantileForecast: window i, step k + 1, quantile level q
    forecast.probability[i, k]     # of an EventForecast: that the event has happened by step k + 1

Neural nets, naive baselines, the closed-form ridge and a model loaded from the registry are all predictors,
so one backtest, one gate and one scorer serve them all. Both types of forecast are tables of windows: ``shape``,
``finite``, ``forecast[rows]`` and ``column(name)`` are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from gatecast.data.panel import Panel
    from gatecast.data.windows import Windows

QUANTILES: tuple[float, ...] = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
"""The one grid of quantile levels; 0.025 and 0.975 bound the 95 % interval, 0.1 and 0.9 the 80 % one."""

MEDIAN = QUANTILES.index(0.5)

Task = Literal["quantile", "event"]
"""What a model forecasts. A source has one registered model, and one champion, per task."""

TASKS: tuple[Task, ...] = ("quantile", "event")

Event: TypeAlias = dict[str, float]
"""``{"above": …}`` or ``{"below": …}``: what happens when the target crosses a threshold."""

KEYS = ("unique_id", "cutoff", "ds", "step")
"""Columns that name a row of the forecast table, whatever the task."""

MODEL = "gatecast"  # column of the median, and beginning of the other quantile columns
PROBABILITY = "probability"  # column of an event forecast


def say(event: Event) -> str:
    """``{"above": 150.0}`` as words: above 150."""
    return " ".join(f"{side} {threshold:g}" for side, threshold in event.items())


def _quantile_columns() -> dict[str, int]:
    columns = {MODEL: MEDIAN}
    for low, level in enumerate(QUANTILES[:MEDIAN]):
        width = round(100 * (1 - 2 * level))
        columns[f"{MODEL}-lo-{width}"] = low
        columns[f"{MODEL}-hi-{width}"] = len(QUANTILES) - 1 - low
    return columns


_LEVEL_OF = _quantile_columns()


@dataclass(frozen=True)
class QuantileForecast:
    """Quantiles of the target.

    Attributes:
        values: (n, horizon, Q) float32, in the units of the target.
        windows: the n (series, origin) pairs they belong to.
        levels: (Q,) quantile levels, ascending.
    """

    task: ClassVar[Task] = "quantile"
    columns: ClassVar[tuple[str, ...]] = tuple(_LEVEL_OF)
    """Names in the forecast table: ``gatecast`` (median), ``gatecast-lo-95``, ``gatecast-hi-95``, …"""

    values: np.ndarray
    windows: Windows
    levels: tuple[float, ...] = QUANTILES

    @property
    def shape(self) -> tuple[int, int]:
        """(n, horizon)."""
        n, horizon = self.values.shape[:2]
        return n, horizon

    @property
    def median(self) -> np.ndarray:
        """(n, horizon)."""
        return self.values[..., MEDIAN]

    @property
    def finite(self) -> np.ndarray:
        """(n, horizon) whether all levels are finite numbers."""
        return np.asarray(np.isfinite(self.values).all(-1))

    @staticmethod
    def level(name: str) -> int:
        """Position on the quantile grid of a column of the forecast table."""
        return _LEVEL_OF[name]

    def column(self, name: str) -> np.ndarray:
        """(n, horizon) what the forecast table has in a column."""
        return self.values[..., self.level(name)]

    def __getitem__(self, rows: Any) -> QuantileForecast:
        """The forecast of some of the windows."""
        return replace(self, values=self.values[rows], windows=self.windows[rows])

    def replaced(self, rows: np.ndarray, other: QuantileForecast) -> QuantileForecast:
        """This forecast, with those of another for some of its windows, (n,) bool."""
        values = self.values.copy()
        values[rows] = other.values
        return replace(self, values=values)

    @classmethod
    def joined(cls, forecasts: Sequence[QuantileForecast], windows: Windows) -> QuantileForecast:
        """The forecast of ``windows`` from the forecasts of one or more consecutive blocks of them."""
        return replace(
            forecasts[0], values=np.concatenate([f.values for f in forecasts]), windows=windows
        )


@dataclass(frozen=True)
class EventForecast:
    """The probability that an event has happened by each step.

    Attributes:
        probability: (n, horizon) float32, non-decreasing in the step.
        windows: the n (series, origin) pairs they belong to.
        event: which event, ``{"above": threshold}`` or ``{"below": threshold}``.
    """

    task: ClassVar[Task] = "event"
    columns: ClassVar[tuple[str, ...]] = (PROBABILITY,)
    """Names in the forecast table."""

    probability: np.ndarray
    windows: Windows
    event: dict[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, horizon)."""
        n, horizon = self.probability.shape
        return n, horizon

    @property
    def finite(self) -> np.ndarray:
        """(n, horizon) whether the probability is a finite number."""
        return np.isfinite(self.probability)

    def column(self, name: str) -> np.ndarray:
        """(n, horizon) what the forecast table has in a column."""
        return {PROBABILITY: self.probability}[name]

    def __getitem__(self, rows: Any) -> EventForecast:
        """The forecast of some of the windows."""
        return replace(self, probability=self.probability[rows], windows=self.windows[rows])

    def replaced(self, rows: np.ndarray, other: EventForecast) -> EventForecast:
        """This forecast, with those of another for some of its windows, (n,) bool."""
        probability = self.probability.copy()
        probability[rows] = other.probability
        return replace(self, probability=probability)

    @classmethod
    def joined(cls, forecasts: Sequence[EventForecast], windows: Windows) -> EventForecast:
        """The forecast of ``windows`` from the forecasts of one or more consecutive blocks of them."""
        probability = np.concatenate([f.probability for f in forecasts])
        return replace(forecasts[0], probability=probability, windows=windows)


Forecast: TypeAlias = QuantileForecast | EventForecast
FORECASTS: dict[Task, type[QuantileForecast] | type[EventForecast]] = {
    "quantile": QuantileForecast,
    "event": EventForecast,
}


class Predictor(Protocol):
    """Anything that forecasts windows of a panel.

    Attributes:
        name: of the variant or baseline.
        horizon: steps.
        task: which type of forecast it returns.
    """

    name: str
    horizon: int
    task: Task

    def predict(self, panel: Panel, windows: Windows) -> Forecast:
        """Forecast ``horizon`` steps from each origin, seeing nothing at or after it but known covariates."""
        ...
