"""Scoring every series with the promoted models; ``read_forecasts`` and ``runs`` read what was published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatecast.scoring.store import read_forecasts, runs

__all__ = ["read_forecasts", "runs"]


def __getattr__(name: str) -> Any:
    """Import the store when it is asked for: settings of this room are read without pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gatecast.scoring import store

    return getattr(store, name)
