"""Scoring every series with the promoted model, and checking what came true."""

from gatecast.scoring.store import read_forecasts, runs

__all__ = ["read_forecasts", "runs"]
