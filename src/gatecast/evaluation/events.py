"""Event forecasts: their scores, the baselines that a net has to beat, and the backtest.

    auroc         chance that a window where it happened got more than one where it did not       (Fawcett 2006)
    brier         mean (p - outcome)²                                                             (Brier 1950)
    log_loss      mean -log of the probability of what came true                                  (Good 1952)
    skill         1 - brier / the Brier score of the base rate as a constant forecast
    reliability   how often it happened among forecasts of about the same probability             (Murphy 1973)

Scores are of the whole horizon: whether the event happens within it. Labels that are NaN are unknown and count nowhere.

    backtest = EventBacktest.of(panel)           # every origin of the test span
    results = [backtest.run(p, event) for p in (*baselines(panel, event), predictor)]
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from gatecast.core.forecast import Event, EventForecast, Predictor, Task, say
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history, rolling_origins, targets
from gatecast.evaluation.backtest import batches, check_whole, no_origin, not_finite
from gatecast.evaluation.config import LOGISTIC, PERSISTENCE
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.sampling import all_training_windows
from gatecast.feed.spec import input_spec
from gatecast.models.config import Model
from gatecast.models.events import labels
from gatecast.models.recipe import read_model
from gatecast.training import trainer
from gatecast.training.config import Fit

# classes of the newest value that persistence distinguishes
_LEVELS = 20
# windows of a test, and of persistence's training
_MOST = 100_000


def outcome(y: np.ndarray, event: Event) -> np.ndarray:
    """Whether the event has happened by each step.

    Args:
        y: (n, H) targets, NaN where unknown.
        event: ``{above: …}`` or ``{below: …}``.

    Returns:
        (n, H) 1, 0, or NaN where that is not known; see :func:`gatecast.models.events.labels`.
    """
    known = ~np.isnan(y)
    filled = torch.from_numpy(np.where(known, y, 0.0))
    label, sure = labels(filled, torch.from_numpy(known.astype(np.float32)), event)
    return np.where(sure.numpy() > 0, label.numpy(), np.nan)


def _known(p: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    use = ~np.isnan(label)
    return np.asarray(p, np.float64)[use], np.asarray(label, np.float64)[use]


def auroc(p: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve, scikit-learn's; NaN where only one of both classes occurs.

    Args:
        p, label: (...) probabilities; 1, 0 or NaN.
    """
    from sklearn.metrics import roc_auc_score

    p, label = _known(p, label)
    if not 0 < label.sum() < len(label):
        return float("nan")
    return float(roc_auc_score(label, p))


def squared_error(p: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(p - label)², NaN where the label is unknown (Brier 1950)."""
    return np.square(np.asarray(p, np.float64) - label)


def logarithmic_score(p: np.ndarray, label: np.ndarray) -> np.ndarray:
    """-log of the probability of what came true, no less than 1e-6; NaN where the label is unknown (Good 1952)."""
    p = np.asarray(p, np.float64)
    came_true = np.where(np.isnan(label), np.nan, np.where(label > 0, p, 1 - p))
    return -np.log(came_true.clip(1e-6))


def brier(p: np.ndarray, label: np.ndarray) -> float:
    """Mean squared error of the probabilities; NaN without a known label."""
    return _mean(squared_error(p, label))


def log_loss(p: np.ndarray, label: np.ndarray) -> float:
    """Mean logarithmic score; NaN without a known label."""
    return _mean(logarithmic_score(p, label))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def reliability(p: np.ndarray, label: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """One row per bin of equal width that holds a forecast.

    Returns:
        ``forecast`` (mean probability), ``observed`` (share that happened), ``n``.
    """
    p, label = _known(p, label)
    code = np.minimum((p * bins).astype(np.int64), bins - 1)
    table = pd.DataFrame({"forecast": p, "observed": label, "bin": code}).groupby("bin")
    return table.mean().assign(n=table.size())


class Persistence:
    """What followed a newest value like this one in the training span: shares, by counts.

    The newest known value of the last season falls into one of twenty equally frequent classes, or into one of its own
    where there is none.

    Args:
        horizon: steps.
        event: that is forecast.
    """

    def __init__(self, horizon: int, event: Event, name: str = PERSISTENCE) -> None:
        self.name = name
        self.horizon = horizon
        self.event = event
        self.task: Task = "event"
        self.edges = np.empty(0)
        self.share = np.full((2, horizon), 0.5)  # of each class, then of windows without a value

    def fit(self, panel: Panel, windows: Windows, y: np.ndarray) -> Persistence:
        """Count, over windows and their (n, H) targets, how often the event follows each class."""
        newest, label = _newest(panel, windows), outcome(y, self.event)
        levels = np.linspace(0, 1, _LEVELS + 1)[1:-1]
        known = newest[~np.isnan(newest)]
        self.edges = np.unique(np.quantile(known, levels)) if len(known) else np.empty(0)
        of = self._class(newest)
        self.share = np.empty((len(self.edges) + 2, self.horizon))
        for k in range(len(self.share)):
            these = label[of == k]
            count = (~np.isnan(these)).sum(0)
            rate = (np.nansum(these, 0) + 0.5) / (count + 1)  # Krichevsky & Trofimov 1981
            self.share[k] = np.maximum.accumulate(rate)
        return self

    def predict(self, panel: Panel, windows: Windows) -> EventForecast:
        """Forecast windows, those without any value of the last season, too."""
        share = self.share[self._class(_newest(panel, windows))].astype(np.float32)
        return EventForecast(share, windows, self.event)

    def _class(self, newest: np.ndarray) -> np.ndarray:
        none = len(self.edges) + 1
        return np.where(np.isnan(newest), none, np.searchsorted(self.edges, newest, side="left"))


def _newest(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) the newest known value of the last season, NaN where there is none."""
    rows = history(panel, windows, panel.meta.season_length)[:, ::-1]
    return np.take_along_axis(rows, (~np.isnan(rows)).argmax(1)[:, None], 1)[:, 0]


def baselines(panel: Panel, event: Event, fit: Fit | None = None) -> list[Predictor]:
    """Persistence, and logistic regression as ``conf/model/logistic.yaml`` has it, fitted on the training span.

    Args:
        panel: data and task.
        event: that is forecast.
        fit: the trainer recipe; of its settings only the number of validation windows counts.
    """
    fitted = trainer.train(
        LOGISTIC, panel, _logistic(event), fit or Fit(), 0, label=f"{LOGISTIC}: "
    )
    return [
        persistence(panel, event),
        NetPredictor(LOGISTIC, fitted.net, fitted.spec, fitted.scaling, panel.meta),
    ]


def persistence(panel: Panel, event: Event) -> Persistence:
    """Persistence, counted over the training span."""
    windows = all_training_windows(panel, input_spec(panel, _logistic(event)), _MOST)
    y = targets(panel, windows)
    left = panel.split_points[0][windows.series] - windows.origin  # steps in the training span
    y[np.arange(y.shape[1]) >= left[:, None]] = np.nan
    return Persistence(panel.meta.horizon, event).fit(panel, windows, y)


def _logistic(event: Event) -> Model:
    return read_model({"kind": "logistic", "event": event}, "logistic regression")


@dataclass(frozen=True)
class EventResult:
    """Scores of one predictor.

    Attributes:
        name: of the predictor.
        event: that is forecast.
        pooled: scores by name, of the whole horizon.
        steps: one row per step: ``auroc``, ``brier``.
        curve: see :func:`reliability`.
        probability: (n,) float32, that the event happens within the horizon.
        seconds: that forecasting took.
    """

    name: str
    event: Event
    pooled: dict[str, float]
    steps: pd.DataFrame
    curve: pd.DataFrame
    probability: np.ndarray
    seconds: float

    @property
    def n_windows(self) -> int:
        """How many windows were forecast."""
        return len(self.probability)

    @property
    def words(self) -> str:
        """What is forecast, in words."""
        return f"{say(self.event)} within {len(self.steps)} steps"


@dataclass(frozen=True)
class EventBacktest:
    """The windows of a span: an event is forecast from every origin, not once a horizon.

    Ranks need all probabilities together, so what is held is bounded by the number of windows: a hundred thousand.
    """

    panel: Panel
    windows: Windows

    @classmethod
    def of(cls, panel: Panel, span: str = "test", stride: int = 1) -> EventBacktest:
        """Collect the origins of a span, thinned evenly to a hundred thousand.

        Raises:
            EvaluationError: NO-ORIGIN if the span has none.
        """
        windows = rolling_origins(panel, span, stride, _MOST)
        if not len(windows):
            raise no_origin(span)
        return cls(panel, windows)

    def labels(self, event: Event) -> np.ndarray:
        """(n, H) float32: whether the event has happened by each step; see :func:`outcome`."""
        out = np.empty((len(self.windows), self.panel.meta.horizon), np.float32)
        for rows in batches(self.windows, out.shape[1]):
            out[rows] = outcome(targets(self.panel, self.windows[rows]), event)
        return out

    def run(self, predictor: Predictor, event: Event) -> EventResult:
        """Forecast all windows and score them.

        Raises:
            EvaluationError: MISSING-FORECAST if windows or steps are missing; NAN-FORECAST if a probability is not
                finite.
        """
        label = self.labels(event)
        p = np.empty_like(label)
        start = time.perf_counter()
        for rows in batches(self.windows, p.shape[1]):
            windows = self.windows[rows]
            answer = predictor.predict(self.panel, windows)
            forecast = check_whole(predictor.name, answer, p[rows].shape, EventForecast)
            broken = np.asarray((~forecast.finite).any(1))
            if broken.any():
                raise not_finite(predictor.name, "no probability", self.panel, windows, broken)
            p[rows] = forecast.probability
        seconds = time.perf_counter() - start
        pairs = list(zip(p.T, label.T, strict=True))
        steps = pd.DataFrame(
            {
                "step": np.arange(1, p.shape[1] + 1),
                "auroc": [auroc(*pair) for pair in pairs],
                "brier": [brier(*pair) for pair in pairs],
            }
        )
        last = pairs[-1]
        pooled = scores(*last) | {"brier_of_steps": float(steps["brier"].mean())}
        curve = reliability(*last)
        return EventResult(predictor.name, event, pooled, steps, curve, last[0].copy(), seconds)


def scores(p: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Every score by name, with ``base_rate`` (share that happened) and ``values`` (known labels)."""
    known = label[~np.isnan(label)].astype(np.float64)
    base = float(known.mean()) if len(known) else float("nan")
    reference = base * (1 - base)
    error = brier(p, label)
    return {
        "auroc": auroc(p, label),
        "brier": error,
        "skill": 1 - error / reference if reference > 0 else float("nan"),
        "log_loss": log_loss(p, label),
        "base_rate": base,
        "values": float(len(known)),
    }
