"""Engines compute the shards of a run."""

from __future__ import annotations

from gatecast.core.errors import ScoringError
from gatecast.scoring.config import Score
from gatecast.scoring.engines.base import Engine

__all__ = ["Engine", "device", "engine"]


def engine(rules: Score, device: str = "cpu") -> Engine:
    """The engine that the settings name.

    Args:
        rules: the settings.
        device: a GPU is fed by one process.
    """
    from gatecast.scoring.engines import local, ray

    if rules.engine == "ray":
        return ray.engine(rules.workers)
    return local.engine(1 if device == "cuda" else rules.workers)


def device(rules: Score) -> str:
    """``cpu`` or ``cuda``, as the settings say and the machine has.

    Raises:
        ScoringError: DEVICE if the settings ask for a GPU and there is none.
    """
    import torch

    if rules.engine == "ray" and rules.device == "cuda":
        return "cuda"  # of the nodes; this one need have none
    found = "cuda" if torch.cuda.is_available() else "cpu"
    if rules.device == "cuda" and found == "cpu":
        what = "score.device is cuda, but torch sees no GPU."
        raise ScoringError("DEVICE", what, "Set score.device=auto, or install torch for it.")
    return found if rules.device == "auto" else rules.device
