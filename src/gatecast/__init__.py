"""gatecast: a production forecasting pipeline for recurrent global models.

    import gatecast
    gatecast.load("models/lstm").predict(frame)

The rooms and their floors: docs/architecture.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatecast.core.version import __version__

if TYPE_CHECKING:
    from gatecast.registry.frame_predictor import FramePredictor

__all__ = ["__version__", "load"]


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
