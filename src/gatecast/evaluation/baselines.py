"""Naive and seasonal naive, with the intervals their own past errors justify.

Both see only what lies before the origin. Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice,
3rd ed., sections 5.2 and 5.5 (the spread of a naive forecast grows with the square root of the step, that of a
seasonal naive one with the square root of the season).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gatecast.core.forecast import QUANTILES, QuantileForecast, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history, last_known

# how far back a missing season is looked for, and errors are measured
_SEASONS = 8
_CHUNK = 4096
_Z = np.array([NormalDist().inv_cdf(q) for q in QUANTILES], np.float32)


class SeasonalNaive:
    """The value one season ago; where it is unknown, the newest known one of the same phase, else the last value.

    ``season_length`` 1 is the naive forecast: the last value.
    """

    def __init__(self, horizon: int, season_length: int, name: str) -> None:
        self.name = name
        self.horizon = horizon
        self.season_length = season_length
        self.task: Task = "quantile"

    def predict(self, panel: Panel, windows: Windows) -> QuantileForecast:
        """Forecast windows; a window without any known value before it yields NaN."""
        chunks = [
            self._chunk(panel, windows[b : b + _CHUNK]) for b in range(0, len(windows), _CHUNK)
        ]
        empty = np.empty((0, self.horizon, len(QUANTILES)), np.float32)
        return QuantileForecast(np.concatenate(chunks or [empty]), windows)

    def _chunk(self, panel: Panel, windows: Windows) -> np.ndarray:
        m = self.season_length
        past = history(panel, windows, max(_SEASONS * m, 32 // m * m))
        phases = past.reshape(len(past), -1, m)  # (n, seasons, m)
        newest = _newest(phases)
        last = _last_value(panel, windows)
        season = np.where(np.isnan(newest), last[:, None], newest)
        step = np.arange(self.horizon)
        point = season[:, step % m]
        spread = _root_mean_square(np.diff(phases, axis=1).reshape(len(past), -1))
        width = spread[:, None] * np.sqrt(step // m + 1)
        return (point[..., None] + width[..., None] * _Z).astype(np.float32)


def naive(horizon: int) -> SeasonalNaive:
    """The last value, for every step."""
    return SeasonalNaive(horizon, 1, "naive")


def seasonal_naive(horizon: int, season_length: int) -> SeasonalNaive:
    """The value one season ago."""
    return SeasonalNaive(horizon, season_length, "seasonal_naive")


def _newest(phases: np.ndarray) -> np.ndarray:
    """(n, seasons, m) -> (n, m) the last value along the seasons that is not NaN."""
    known = ~np.isnan(phases)
    last = phases.shape[1] - 1 - known[:, ::-1].argmax(1)
    return np.where(known.any(1), np.take_along_axis(phases, last[:, None], 1)[:, 0], np.nan)


def _last_value(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) the last known value before each origin, however far back."""
    begin = panel.indptr[windows.series]
    row = last_known(panel.observed, begin, begin + windows.origin)
    return np.where(row >= begin, panel.values[row.clip(0), 0], np.nan)


def _root_mean_square(errors: np.ndarray) -> np.ndarray:
    n = (~np.isnan(errors)).sum(1)
    return np.sqrt(np.nansum(errors**2, 1) / np.maximum(n, 1))
