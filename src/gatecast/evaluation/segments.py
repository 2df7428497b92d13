"""Scores by segment: is a forecast worse anywhere? Segments are values of static columns, and thirds by volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatecast.data.panel import Panel
from gatecast.evaluation.bootstrap import Cells
from gatecast.evaluation.metrics import Scores


@dataclass(frozen=True)
class Segment:
    """Both scores on a segment of the panel, and how many series it has."""

    name: str
    series: int
    challenger: float
    champion: float


def compare(
    members: list[tuple[str, np.ndarray]], challenger: Cells, champion: Cells
) -> list[Segment]:
    """Scores by segment, without those that have none.

    Args:
        members: see :func:`segments`.
        challenger, champion: cells of the same windows.
    """
    found = []
    for name, which in members:
        weights = which[:, None].astype(np.float64)
        a, b = (float(cells.score(weights)[0]) for cells in (challenger, champion))
        if not (np.isnan(a) or np.isnan(b)):
            found.append(Segment(name, int(which.sum()), a, b))
    return found


def segments(panel: Panel, scores: Scores, least: int) -> list[tuple[str, np.ndarray]]:
    """Name and members of every segment of at least so many series.

    Segments are the values of every static column and, of three series and more, the thirds by mean |y|.

    Args:
        panel: whose series they are.
        scores: of any predictor: which series were forecast, and how large their values are.
        least: series of a segment.

    Returns:
        Names and (S,) bool.
    """
    labels = scores.labels
    found = []
    for column in panel.meta.static:
        codes = panel.series[column.name].to_numpy()[labels]
        values, counts = np.unique(codes, return_counts=True)
        for value in values[(counts >= least) & ~np.isnan(values)]:
            names = column.categories
            word = f"{value:g}" if names is None else ["(none)", *names][int(value)]
            found.append((f"{column.name} {word}", codes == value))
    if len(labels) < 3:
        return found
    volume = scores.size / scores.values
    third = np.empty(len(labels), np.int64)
    third[np.argsort(volume, kind="stable")] = np.arange(len(labels)) * 3 // len(labels)
    thirds = [(f"volume {word}", third == k) for k, word in enumerate(("low", "middle", "high"))]
    return found + [(name, which) for name, which in thirds if which.sum() >= least]
