"""What a tuning recipe says: which settings are searched, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Range:
    """What one setting is tried at: numbers from ``low`` to ``high``, or ``choices``, which go before a range."""

    low: Any = None
    high: Any = None
    log: bool = False  # evenly in their logarithm
    choices: list[Any] = field(default_factory=list)


@dataclass
class Search:
    """A tuning recipe: how many trials, for how long, over which settings of the model and the trainer recipe."""

    trials: int = (
        20  # that end by themselves (pruned and failed ones too), over all runs of the command
    )
    minutes: float | None = None  # no trial of this run begins later; null: no limit
    space: dict[str, Any] = field(default_factory=dict)  # of Range, by setting
