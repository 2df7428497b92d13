"""The comparison of a challenger with the champion and a baseline, measured now on the same rolling origins.

    comparison = compare_on(panel, event, rules)
    challenger, baseline = (comparison.measure(p) for p in (predictor, comparison.baseline))
    evidence = comparison.evidence(challenger, baseline, champion=None)      # for the gate

quantile    the leaderboard's metric beside seasonal naive's, the coverage of the intervals, segments
event       the Brier score beside persistence's, AUROC
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from gatecast.core.forecast import Event, Predictor, Task
from gatecast.data.panel import Panel
from gatecast.evaluation import baselines, bootstrap, events, segments
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.bootstrap import Cells
from gatecast.evaluation.events import EventBacktest
from gatecast.registry import gate
from gatecast.registry.config import Promote

BOARDS: dict[Task, str] = {"quantile": "leaderboard.json", "event": "events.json"}


def metric(task: Task, rules: Promote) -> str:
    """The score by which forecasts of a task are compared."""
    return "brier" if task == "event" else rules.metric


@dataclass(frozen=True)
class Measurement:
    """What a predictor reaches on the origins of a comparison.

    Attributes:
        score: the metric, over everything.
        cells: the metric's sums, for resamples.
        quality: coverage of the 95 % interval, or AUROC of events.
        members: name and series of every segment; none for events.
    """

    score: float
    cells: Cells
    quality: float
    members: list[tuple[str, np.ndarray]] = field(default_factory=list)


class Comparison(ABC):
    """Predictors on the origins of the test span.

    Attributes:
        metric: by which they are compared.
        baseline: that every challenger must beat.
        n_origins: matured origins that do not overlap.
    """

    metric: str
    baseline: Predictor
    n_origins: float

    @abstractmethod
    def measure(self, predictor: Predictor) -> Measurement:
        """Forecast all origins and score them.

        Raises:
            EvaluationError: TASK, MISSING-FORECAST, NAN-FORECAST.
        """

    @abstractmethod
    def quality(self, challenger: Measurement, baseline: Measurement) -> gate.Check:
        """The check that only this task has."""

    def evidence(
        self, challenger: Measurement, baseline: Measurement, champion: Measurement | None
    ) -> gate.Evidence:
        """What the gate judges by; ``champion``: None without one."""
        paired = None
        if champion:
            paired = gate.PairedComparison(
                champion.score,
                bootstrap.gains(challenger.cells, champion.cells),
                segments.compare(challenger.members, challenger.cells, champion.cells),
            )
        return gate.Evidence(
            self.metric,
            self.baseline.name.replace("_", " "),
            challenger.score,
            baseline.score,
            self.quality(challenger, baseline),
            self.n_origins,
            paired,
        )


def compare_on(panel: Panel, event: Event, rules: Promote) -> Comparison:
    """The comparison on a panel: of forecasts of an event, or of quantiles where that is empty.

    Raises:
        EvaluationError: NO-ORIGIN if the test span has none.
    """
    return _EventComparison(panel, event, rules) if event else _QuantileComparison(panel, rules)


class _QuantileComparison(Comparison):
    def __init__(self, panel: Panel, rules: Promote) -> None:
        self.metric = metric("quantile", rules)
        self.rules = rules
        self.baseline = baselines.seasonal_naive(panel.meta.horizon, panel.meta.season_length)
        self.backtest = Backtest.of(panel)
        known = [1 - np.isnan(y).mean(1) for _, y in self.backtest.targets()]
        self.n_origins = bootstrap.matured(panel, self.backtest.windows, np.concatenate(known))

    def measure(self, predictor: Predictor) -> Measurement:
        cells = Cells.of_backtest(self.backtest, self.metric)
        result = self.backtest.run(predictor, cells)
        least = self.rules.min_segment_series
        members = segments.segments(self.backtest.panel, result.scores, least)
        pooled = result.pooled
        return Measurement(pooled[self.metric], cells, pooled["coverage_95"], members)

    def quality(self, challenger: Measurement, baseline: Measurement) -> gate.Check:
        return gate.coverage(challenger.quality, self.rules)


class _EventComparison(Comparison):
    """Without segments: where hardly anything happens, a Brier score is noise."""

    def __init__(self, panel: Panel, event: Event, rules: Promote) -> None:
        self.metric = metric("event", rules)
        self.event = event
        self.backtest = EventBacktest.of(panel)
        self.baseline = events.persistence(panel, event)
        self.label = self.backtest.labels(event)[:, -1]  # (n,)
        known = 1.0 - np.isnan(self.label)
        self.n_origins = bootstrap.matured(panel, self.backtest.windows, known)

    def measure(self, predictor: Predictor) -> Measurement:
        result = self.backtest.run(predictor, self.event)
        error = events.squared_error(result.probability, self.label)
        cells = Cells.of_events(self.backtest.panel, self.backtest.windows, error)
        return Measurement(result.pooled[self.metric], cells, result.pooled["auroc"])

    def quality(self, challenger: Measurement, baseline: Measurement) -> gate.Check:
        return gate.ranks(challenger.quality, baseline.quality)
