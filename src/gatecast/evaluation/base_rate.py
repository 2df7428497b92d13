"""The base rate of an event in the past of each series: what stands in where a model gives no probability.

P(by step k) = share of the horizons in the series' past whose first k steps saw the event
"""

from __future__ import annotations

import numpy as np

from gatecast.core.forecast import Event, EventForecast, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history
from gatecast.evaluation.events import outcome

_ROWS = 4096  # newest rows of a series that are counted


class BaseRate:
    """How often the event happened within k steps, counted over every origin in the past of the same series.

    A count gets half a case for and half a case against (Krichevsky & Trofimov 1981), so that no probability is 0 or 1.

    Args:
        horizon: steps.
        event: that is forecast.
    """

    def __init__(self, horizon: int, event: Event, name: str = "base_rate") -> None:
        self.name = name
        self.horizon = horizon
        self.event = event
        self.task: Task = "event"

    def predict(self, panel: Panel, windows: Windows) -> EventForecast:
        """Forecast windows; a series without a known value in its past yields NaN."""
        probability = np.full((len(windows), self.horizon), np.nan, np.float32)
        for i in range(len(windows)):
            past = history(panel, windows[i : i + 1], _ROWS)[0]
            known = np.flatnonzero(~np.isnan(past))
            if len(known):
                probability[i] = self._rate(past[known[0] :])
        return EventForecast(probability, windows, self.event)

    def _rate(self, past: np.ndarray) -> np.ndarray:
        """(n,) values of a series -> (horizon,) its rates; a past shorter than a horizon is padded with unknowns."""
        missing = np.full(max(self.horizon - len(past), 0), np.nan)
        every = np.lib.stride_tricks.sliding_window_view(np.r_[past, missing], self.horizon)
        label = outcome(every, self.event)  # (origins, horizon)
        rate = (np.nansum(label, 0) + 0.5) / ((~np.isnan(label)).sum(0) + 1)
        return np.maximum.accumulate(rate)
