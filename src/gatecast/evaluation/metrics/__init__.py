"""Metrics: a statistic of every (window, step) × how it is aggregated, accumulated over batches of windows.

    "mase": Metric(statistics.scaled_error, aggregations.mean_of_series)    # an entry of registry.METRICS

    scores = Scores(series, horizon)
    for batch in batches:           # windows in the order of their series
        scores.add(batch)           # keeps sums by series and by step, never the batch
    scores.pooled()["mase"]         # over everything; scores.series() and scores.steps() are tables

A new metric is one entry in ``registry.py``, made of a statistic (``statistics.py``) and an aggregation
(``aggregations.py``), and one test. The terminal shows those in ``leaderboard.SHOWN``; those that may decide about a
promotion are in ``evaluation/config.py``.
"""

from gatecast.evaluation.metrics.registry import METRICS, Metric, owa, skill
from gatecast.evaluation.metrics.scales import Scales, scales
from gatecast.evaluation.metrics.scores import Scores, score
from gatecast.evaluation.metrics.statistics import DECILES, INTERVALS, Batch

__all__ = [
    "DECILES",
    "INTERVALS",
    "METRICS",
    "Batch",
    "Metric",
    "Scales",
    "Scores",
    "owa",
    "scales",
    "score",
    "skill",
]
