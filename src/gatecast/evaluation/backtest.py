"""Rolling-origin backtest: every predictor on the same windows, scored against what happened.

backtest = Backtest.of(panel)            # windows and targets of the test span, once
result = backtest.run(predictor)         # pooled, per series, per step
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import EventForecast, Forecast, Predictor, QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, rolling_origins, targets
from gatecast.evaluation import metrics

F = TypeVar("F", QuantileForecast, EventForecast)


@dataclass(frozen=True)
class Result:
    """Scores of one predictor. ``pooled``: a score a name; ``series``: a row a series; ``steps``: a row a step."""

    name: str
    pooled: dict[str, float]
    series: pd.DataFrame
    steps: pd.DataFrame
    forecast: QuantileForecast
    seconds: float


def check_whole(name: str, forecast: Forecast, targets: np.ndarray, wanted: type[F]) -> F:
    """The forecast, if it is of the wanted type and covers every window and step of the (n, H) targets.

    Raises:
        EvaluationError: TASK if it is of the other type; MISSING-FORECAST if windows or steps are missing.
    """
    if not isinstance(forecast, wanted):
        raise EvaluationError(
            "TASK",
            f"{name} forecasts the task '{forecast.task}', not '{wanted.task}'.",
            "Variants with `head: event` are scored on the board of events, all others on the leaderboard.",
        )
    if forecast.shape != targets.shape:
        raise EvaluationError(
            "MISSING-FORECAST",
            f"{name} answers {forecast.shape} windows and steps, not {targets.shape}.",
            "Leave the variant out of `variants`: its scores would be of other series than the others'.",
        )
    return forecast


@dataclass(frozen=True)
class Backtest:
    """The windows of a span and their targets."""

    panel: Panel
    windows: Windows
    targets: np.ndarray
    scales: metrics.Scales

    @classmethod
    def of(cls, panel: Panel, span: str = "test", stride: int | None = None) -> Backtest:
        """Collect the rolling origins of a span.

        Raises:
            EvaluationError: NO-ORIGIN if the span has none.
        """
        windows = rolling_origins(panel, span, stride)
        if not len(windows):
            raise EvaluationError(
                "NO-ORIGIN",
                f"the {span} span has no origin with a known target.",
                "Choose other `task.splits` in the source recipe.",
            )
        return cls(panel, windows, targets(panel, windows), metrics.scales(panel))

    def run(self, predictor: Predictor) -> Result:
        """Forecast all windows and score them.

        Raises:
            EvaluationError: MISSING-FORECAST if windows or steps are missing; NAN-FORECAST if a forecast is not
                finite where the target is known.
        """
        start = time.perf_counter()
        forecast = predictor.predict(self.panel, self.windows)
        seconds = time.perf_counter() - start
        forecast = check_whole(predictor.name, forecast, self.targets, QuantileForecast)
        broken = ~forecast.finite & ~np.isnan(self.targets)
        if broken.any():
            at = int(np.flatnonzero(broken.any(1))[0])
            series = self.panel.ids[self.windows.series[at]]
            raise EvaluationError(
                "NAN-FORECAST",
                f"{predictor.name} forecasts no finite number for series '{series}' ({broken.sum():,} values in all).",
                "Look at that series in data/observations, or leave the variant out of `variants`.",
            )
        stats = metrics.statistics(self.targets, forecast, self.scales)
        series = metrics.per_series(stats, self.windows.series)
        steps = metrics.per_step(stats, self.windows.series)
        return Result(predictor.name, metrics.pooled(series), series, steps, forecast, seconds)
