"""What a tuning recipe says: which settings are searched, and for how long."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from gatecast.core.schema import Schema, require


class Range(Schema):
    """What one setting is tried at: numbers from ``low`` to ``high``, or ``choices``, which go before a range."""

    low: Any = None
    """Smallest value."""

    high: Any = None
    """Largest value."""

    log: bool = False
    """Evenly in their logarithm."""

    choices: list[Any] = Field(default_factory=list)
    """The values, instead of a range."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.choices:
            return self
        ends = (self.low, self.high)
        numbers = all(type(end) in (int, float) for end in ends)
        require(numbers, "", ends, "two numbers, `low` and `high`, or a list of `choices`")
        require(self.low < self.high, "low", self.low, f"below `high` ({self.high})")
        require(not self.log or self.low > 0, "low", self.low, "above 0 for `log`")
        return self


class Search(Schema):
    """A tuning recipe: how many trials, for how long, over which settings of the model and the trainer recipe."""

    trials: int = Field(default=20, ge=1)
    """Trials that end by themselves (pruned and failed ones too), over all runs of the command."""

    minutes: float | None = Field(default=None, gt=0)
    """No trial of this run begins later; null: no limit."""

    space: dict[str, Range] = Field(default_factory=dict)
    """What each setting is tried at."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        require(bool(self.space), "space", self.space, "of at least one setting")
        return self
