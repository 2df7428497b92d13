"""A package that forecasts a frame: what ``gatecast.load`` returns, and what MLflow serves.

load(Path("models/lstm")).predict(frame, cutoff="2025-04-01")
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from gatecast.data.windows import latest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package


@dataclass(frozen=True)
class FramePredictor:
    """Forecasts every series of a frame from its last value.

    Attributes:
        predictor: the trained net, for panels.
    """

    predictor: NetPredictor

    def predict(self, frame: pd.DataFrame, cutoff: str | date | None = None) -> pd.DataFrame:
        """Forecast the steps that follow.

        Args:
            frame: ``unique_id``, ``ds``, ``y`` and the covariates of the training feed; rows after a series' last value
                have an empty ``y``. ``ds`` is as in the feed: local time if it has no zone and the recipe declares
                one. A covariate that is left out is unknown everywhere.
            cutoff: forget every value after this time; None: none.

        Returns:
            One row per series and step: ``unique_id``, ``cutoff``, ``ds``, ``step`` and the columns of the forecast.

        Raises:
            IngestError: EMPTY if no value is left to forecast from; else as the contract of observations says.
        """
        panel = panel_of(frame, self.predictor.meta, cutoff)
        return to_table(panel, self.predictor.predict(panel, latest(panel)))


def load(folder: Path, digest: str | None = None) -> FramePredictor:
    """Rebuild a package; arguments and errors as in :func:`gatecast.registry.package.load`."""
    return FramePredictor(package.load(folder, digest))
