"""What the gate is shown of each task, all of it measured now, on the same rolling origins.

quantile    the leaderboard's metric beside seasonal naive's, the coverage of the intervals, segments
event       the Brier score beside persistence's, AUROC
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gatecast.core.forecast import Predictor, Task
from gatecast.data.panel import Panel
from gatecast.evaluation import baselines, bootstrap, events, segments
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.bootstrap import Cells
from gatecast.evaluation.events import Event, EventBacktest
from gatecast.evaluation.segments import Segment
from gatecast.registry import gate
from gatecast.registry.config import Promote

BOARDS: dict[Task, str] = {"quantile": "leaderboard.json", "event": "events.json"}


def metric(task: Task, rules: Promote) -> str:
    """The score by which forecasts of a task are compared."""
    return "brier" if task == "event" else rules.metric


@dataclass(frozen=True)
class Showing:
    """What a predictor has shown: its score, its cells for resamples, and coverage of quantiles or AUROC of events.

    ``members``: of every segment, see :func:`gatecast.evaluation.segments.segments`.
    """

    score: float
    cells: Cells
    quality: float
    members: list[tuple[str, np.ndarray]] = field(default_factory=list)


class Contest(Protocol):
    """The origins of the test span, forecast by whoever is asked. ``origins``: matured ones that do not overlap."""

    metric: str
    baseline: Predictor
    origins: float

    def run(self, predictor: Predictor) -> Showing:
        """Forecast all origins and score them.

        Raises:
            EvaluationError: MISSING-FORECAST, NAN-FORECAST.
        """
        ...

    def quality(self, challenger: Showing, baseline: Showing) -> gate.Check:
        """The check that only this task has."""
        ...

    def segments(self, challenger: Showing, champion: Showing) -> list[Segment]:
        """Both scores by segment."""
        ...


def of(panel: Panel, event: Event, rules: Promote) -> Contest:
    """The contest on a panel: of an event, or of quantiles where that is empty.

    Raises:
        EvaluationError: NO-ORIGIN if the test span has none.
    """
    return _Events(panel, event, rules) if event else _Quantiles(panel, rules)


class _Quantiles:
    def __init__(self, panel: Panel, rules: Promote) -> None:
        self.metric, self.rules, m = metric("quantile", rules), rules, panel.meta
        self.baseline: Predictor = baselines.seasonal_naive(m.horizon, m.season_length)
        self.backtest = test = Backtest.of(panel)
        known = [1 - np.isnan(y).mean(1) for _, y in test.targets()]
        self.origins = bootstrap.matured(panel, test.windows, np.concatenate(known))

    def run(self, predictor: Predictor) -> Showing:
        cells = Cells.of_backtest(self.backtest, self.metric)
        found = self.backtest.run(predictor, cells)
        least = self.rules.min_segment_series
        members = segments.segments(self.backtest.panel, found.scores, least)
        return Showing(found.pooled[self.metric], cells, found.pooled["coverage_95"], members)

    def quality(self, challenger: Showing, baseline: Showing) -> gate.Check:
        return gate.coverage(challenger.quality, self.rules)

    def segments(self, challenger: Showing, champion: Showing) -> list[Segment]:
        return segments.compare(challenger.members, challenger.cells, champion.cells)


class _Events:
    def __init__(self, panel: Panel, event: Event, rules: Promote) -> None:
        self.metric, self.event = metric("event", rules), event
        self.backtest = EventBacktest.of(panel)
        self.baseline: Predictor = events.persistence(panel, event)
        self.label = self.backtest.labels(event)[:, -1]  # (n,)
        known = 1.0 - np.isnan(self.label)
        self.origins = bootstrap.matured(panel, self.backtest.windows, known)

    def run(self, predictor: Predictor) -> Showing:
        found, test = self.backtest.run(predictor, self.event), self.backtest
        error = events.squared_error(found.probability, self.label)
        cells = Cells.of_events(test.panel, test.windows, error)
        return Showing(found.pooled[self.metric], cells, found.pooled["auroc"])

    def quality(self, challenger: Showing, baseline: Showing) -> gate.Check:
        return gate.ranks(challenger.quality, baseline.quality)

    def segments(self, challenger: Showing, champion: Showing) -> list[Segment]:
        return []  # where hardly anything happens, a Brier score is noise
