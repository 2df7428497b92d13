"""Settings of the gate and of housekeeping."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Promote:
    """The gate: what a challenger must show on the rolling origins of the test span, now.

    ``min_origins``: matured origins that do not overlap. ``min_skill``: 1 - score / seasonal naive's. ``coverage_95``:
    bounds of the share of values inside the 95 % interval. ``margin``: gain over the champion, relative to its score,
    that must be reached with this ``confidence`` (one-sided, paired resamples of series and origins).
    ``max_segment_loss``: most that a segment of at least ``min_segment_series`` series may lose against the champion.
    ``replace_incomparable``: a champion that cannot be compared (another horizon, other columns, forecasts that are
    no number) is replaced, not kept.
    """

    metric: str = "mase"
    min_origins: int = 10
    min_skill: float = 0.01
    coverage_95: list[float] = field(default_factory=lambda: [0.85, 0.995])
    margin: float = 0.01
    confidence: float = 0.95
    max_segment_loss: float = 0.05
    min_segment_series: int = 10
    replace_incomparable: bool = False


@dataclass
class Registry:
    """What housekeeping keeps: the newest versions, and those whose forecasts are not older than ``days``."""

    keep: int = 20
    days: int = 90
