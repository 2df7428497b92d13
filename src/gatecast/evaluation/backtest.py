"""Rolling-origin backtest: every predictor on the same windows, scored against what came true.

    backtest = Backtest.of(panel)            # the windows of the test span
    result = backtest.run(predictor)         # scores pooled, per series, per step

A predictor is run batch by batch: each is scored and dropped, so that memory does not grow with the number of windows.
What needs more of a batch than its scores (the gate's cells, the table of forecasts) observes the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import EventForecast, Forecast, Predictor, QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, rolling_origins, targets
from gatecast.evaluation import metrics
from gatecast.evaluation.metrics import Batch, Scores
from gatecast.feed.sampling import at_once

# a batch of a run is a multiple of the batches that a net forecasts, so that these stay whole, on a GPU too
_BATCHES = 16

F = TypeVar("F", QuantileForecast, EventForecast)


class Observer(Protocol):
    """Receives every batch of a run."""

    def add(self, batch: Batch) -> None:
        """Receive a batch, which is dropped afterwards."""
        ...


@dataclass(frozen=True)
class Result:
    """Scores of one predictor.

    Attributes:
        name: name of the predictor.
        pooled: scores over all series, by name.
        scores: the accumulated scores, also by series and by step.
        n_windows: number of windows forecast.
        seconds: seconds spent forecasting.
    """

    name: str
    pooled: dict[str, float]
    scores: Scores
    n_windows: int
    seconds: float

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row per series."""
        return self.scores.series()

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row per step."""
        return self.scores.steps()


def batches(windows: Windows, horizon: int) -> Iterator[slice]:
    """Slices of windows that are forecast and scored together; how large they are depends on the horizon alone."""
    size = _BATCHES * at_once(horizon)
    for begin in range(0, len(windows), size):
        yield slice(begin, min(begin + size, len(windows)))


def check_whole(name: str, forecast: Forecast, shape: tuple[int, ...], wanted: type[F]) -> F:
    """The forecast, if it is of the wanted type and covers every window and step, (n, H).

    Raises:
        EvaluationError: TASK if it is of the other type; MISSING-FORECAST if windows or steps are missing.
    """
    if not isinstance(forecast, wanted):
        raise EvaluationError(
            "TASK",
            f"{name} forecasts the task '{forecast.task}', not '{wanted.task}'.",
            "Variants with `head: event` are scored on the board of events, all others on the leaderboard.",
        )
    if forecast.shape != shape:
        raise EvaluationError(
            "MISSING-FORECAST",
            f"{name} returns {forecast.shape} windows and steps, not {shape}.",
            "Leave the variant out of `variants`: its scores would be of other series than the others'.",
        )
    return forecast


def not_finite(
    name: str, what: str, panel: Panel, windows: Windows, broken: np.ndarray
) -> EvaluationError:
    """NAN-FORECAST, naming the first series and cutoff whose forecast is not finite.

    Args:
        name: name of the predictor.
        what: is missing.
        panel, windows: that were forecast.
        broken: (n,) bool, which windows it is about.
    """
    from gatecast.evaluation.table import stamps_of

    first = int(np.flatnonzero(broken)[0])
    series, origin = windows.series[first], windows.origin[first]
    cutoff = stamps_of(panel)[panel.position[series] + origin - 1]
    return EvaluationError(
        "NAN-FORECAST",
        f"{name} forecasts {what} for series '{panel.ids[series]}' after {cutoff}.",
        "Look at that series in data/observations, or leave the variant out of `variants`.",
    )


@dataclass(frozen=True)
class Backtest:
    """The windows of a span, in the order of their series."""

    panel: Panel
    windows: Windows
    scales: metrics.Scales

    @classmethod
    def of(cls, panel: Panel, span: str = "test", stride: int | None = None) -> Backtest:
        """Collect the rolling origins of a span.

        Raises:
            EvaluationError: NO-ORIGIN if the span has none.
        """
        windows = rolling_origins(panel, span, stride)
        if not len(windows):
            raise no_origin(span)
        return cls(panel, windows, metrics.scales(panel))

    def targets(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Which windows, and their (n, H) float32 targets, batch by batch."""
        for rows in batches(self.windows, self.panel.meta.horizon):
            yield rows, targets(self.panel, self.windows[rows])

    def forecast(self, predictor: Predictor, rows: slice | np.ndarray) -> QuantileForecast:
        """The forecast of some of the windows.

        Raises:
            EvaluationError: TASK, MISSING-FORECAST.
        """
        windows = self.windows[rows]
        shape = len(windows), self.panel.meta.horizon
        answer = predictor.predict(self.panel, windows)
        return check_whole(predictor.name, answer, shape, QuantileForecast)

    def run(self, predictor: Predictor, *observers: Observer) -> Result:
        """Forecast all windows and score them.

        Args:
            predictor: that is scored.
            observers: receive every batch.

        Raises:
            EvaluationError: MISSING-FORECAST if windows or steps are missing; NAN-FORECAST if a forecast is not
                finite where the target is known.
        """
        scores = Scores(self.windows.series, self.panel.meta.horizon)
        seconds = 0.0
        for rows, y in self.targets():
            windows = self.windows[rows]
            start = time.perf_counter()
            forecast = self.forecast(predictor, rows)
            seconds += time.perf_counter() - start
            broken = (~forecast.finite & ~np.isnan(y)).any(1)
            if broken.any():
                what = "no finite number"
                raise not_finite(predictor.name, what, self.panel, windows, broken)
            y = y.astype(np.float64)
            batch = Batch(windows, y, forecast.values, self.scales, rows.start)
            for observer in (scores, *observers):
                observer.add(batch)
        return Result(predictor.name, scores.pooled(), scores, len(self.windows), seconds)


def no_origin(span: str) -> EvaluationError:
    """NO-ORIGIN: a span without any origin whose target is known."""
    return EvaluationError(
        "NO-ORIGIN",
        f"the {span} span has no origin with a known target.",
        "Choose other `task.splits` in the source recipe.",
    )
