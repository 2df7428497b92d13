"""Settings of the gate, of tracking and of housekeeping."""

from __future__ import annotations

from pydantic import Field, field_validator

from gatecast.core.schema import Schema, require
from gatecast.evaluation.config import Metric


class Promote(Schema):
    """The gate: what a challenger must show on the rolling origins of the test span, now."""

    metric: Metric = "mase"
    """Main score of the leaderboard."""

    min_origins: int = Field(default=10, ge=1)
    """Origins with known targets that do not overlap, over all series."""

    min_skill: float = Field(default=0.01, lt=1)
    """Better than seasonal naive by this share of its score."""

    coverage_95: list[float] = Field(default_factory=lambda: [0.85, 0.995])
    """Bounds of the share of values inside the 95 % interval."""

    margin: float = Field(default=0.01, ge=0, lt=1)
    """Better than the champion by this share of its score."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence in that margin (one-sided, paired resamples of series and origins)."""

    max_segment_loss: float = Field(default=0.05, ge=0)
    """Most that a segment may lose against the champion."""

    min_segment_series: int = Field(default=10, ge=1)
    """Smallest number of series that counts as a segment."""

    replace_incomparable: bool = False
    """Replace a champion that cannot be compared (another horizon, columns that the feed has lost,
    forecasts that are not numbers)."""

    @field_validator("coverage_95")
    @classmethod
    def _bounds(cls, bounds: list[float]) -> list[float]:
        ok = len(bounds) == 2 and 0 <= bounds[0] < bounds[1] <= 1
        require(ok, "", bounds, "two shares from 0 to 1, the smaller first")
        return bounds


class Tracking(Schema):
    """What MLflow keeps of a training beside parameters, scores and the model."""

    system_metrics: bool = False
    """Use of processor, memory, disk and network, every two seconds."""


class Registry(Schema):
    """What housekeeping keeps: the newest versions, and those whose forecasts are not older than ``days``."""

    keep: int = Field(default=20, ge=1)
    """Newest versions that stay whole."""

    days: int = Field(default=90, ge=1)
    """Versions that wrote forecasts in this many days stay whole, too."""
