"""gatecast: a production forecasting pipeline for recurrent global models.

    import gatecast
    gatecast.load("models/lstm").predict(frame)
    gatecast.read_backtest()

The rooms and their floors: docs/architecture.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatecast.core.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from gatecast.registry.frame_predictor import FramePredictor

__all__ = ["__version__", "load", "read_backtest"]


def load(folder: str | Path, digest: str | None = None) -> FramePredictor:
    """Load a package to forecast frames with it; needs none of the extras.

    Args:
        folder: the package, e.g. ``models/lstm``.
        digest: sha256 that it must have; None: any.

    Raises:
        RegistryError: PACKAGE-MISSING, PACKAGE-READ, PACKAGE-SCHEMA, PACKAGE-FOREIGN; DIGEST if it has another.
    """
    from gatecast.registry import frame_predictor

    return frame_predictor.load(Path(folder), digest)


def read_backtest(root: str | Path = ".") -> pd.DataFrame:
    """Read the forecasts of the last backtest beside their actuals, as Nixtla's ``cross_validation`` returns them.

    Args:
        root: the project folder.

    Returns:
        ``unique_id``, ``ds``, ``cutoff``, ``y``, and of each variant and baseline its median and its quantiles:
        ``lstm``, ``lstm-lo-95``, …; of a large backtest, a sample of windows.

    Raises:
        EvaluationError: NO-BACKTEST.
    """
    from gatecast.evaluation import backtest_table

    return backtest_table.read(Path(root, "reports", "backtest.parquet"))
