"""What a model is given: the numbers that size it, and one batch of sequences.

Axes, here and in every model:

    B  sequences in a batch          T  encoder steps          K  forking origins (the last K of the T steps)
    W  rows one encoder step sees    S  rows between two steps H  horizon     Q  quantile levels
    R  rows of look-back before the last origin = W + (T - 1) S
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any, NamedTuple

from torch import Tensor

from gatecast.core.errors import ConfigError
from gatecast.models.config import Model

_SEASONS = 30  # that a sequence looks back at most, unless a recipe says otherwise
_AHEAD = 672  # steps that the forks of a sequence forecast together


@dataclass(frozen=True)
class InputSpec:
    """Sizes that the panel and the recipe resolve to; enough, with the recipe, to rebuild a model.

    ``*_cards``: number of codes (unknown included) of each categorical channel.
    ``nonnegative``: training targets come close to zero but never cross it, so forecasts do not either.
    ``log_floor``: smallest value whose logarithm is taken; 0: the target is used as it is.
    ``log_shift``: added to the target before its logarithm is taken, where it may be 0.
    ``normalisation``, ``reads``: as in :class:`gatecast.models.config.Model`, resolved.
    ``volume``: mean magnitude of the training targets, by which those of a series are weighed; 0: all count alike.
    ``mirror``: training shows sequences upside down, too.
    ``event``: forecast is its probability, ``{above: …}`` or ``{below: …}``; empty: quantiles are.
    ``members``: specs of an ensemble's members (None: has no place here); its own look-back is the longest of theirs.
    """

    horizon: int
    season_length: int
    window: int
    segment: int
    steps: int
    forks: int
    n_past: int = 0
    n_known: int = 0
    n_static: int = 0
    past_cards: list[int] = field(default_factory=list)
    known_cards: list[int] = field(default_factory=list)
    static_cards: list[int] = field(default_factory=list)
    n_calendar: int = 0
    nonnegative: bool = False
    normalisation: str = "level"
    log_floor: float = 0.0
    log_shift: float = 0.0
    reads: str = "window"
    mirror: bool = False
    volume: float = 0.0
    event: dict[str, float] = field(default_factory=dict)
    members: list[InputSpec | None] = field(default_factory=list)

    @property
    def lookback(self) -> int:
        """R, rows before the last origin of a sequence."""
        return self.window + (self.steps - 1) * self.segment

    @property
    def read(self) -> int:
        """Newest rows of its window that a step reads."""
        return self.window if self.reads == "window" else self.segment

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> InputSpec:
        members = [member and cls.from_json(member) for member in content.get("members", [])]
        return cls(**{**content, "members": members})


class Batch(NamedTuple):
    """Sequences that end at their last origin, with the horizon behind it: R + H rows each.

    Attributes:
        target: (B, R + H) in units of the target, 0 where unknown.
        mask: (B, R + H) 1 where the target is known and may be seen or scored.
        past: (B, R + H, n_past) scaled covariates known up to now, 0 where unknown.
        known: (B, R + H, n_known + n_calendar) scaled covariates known ahead, and calendar features.
        past_codes: (B, R + H, len(past_cards)) int64.
        known_codes: (B, R + H, len(known_cards)) int64.
        static: (B, n_static) scaled.
        static_codes: (B, len(static_cards)) int64.
    """

    target: Tensor
    mask: Tensor
    past: Tensor
    known: Tensor
    past_codes: Tensor
    known_codes: Tensor
    static: Tensor
    static_codes: Tensor

    def newest(self, rows: int) -> Batch:
        """The same sequences, cut to their last ``rows``."""
        return Batch(*(part[:, -rows:] if k < 6 else part for k, part in enumerate(self)))


def resolve_shape(
    model: Model,
    season_length: int,
    horizon: int,
    steps_per_day: int | None,
    history: int | None = None,
) -> dict[str, Any]:
    """Rows and steps of a recipe's sequences, with ``null`` settings resolved from season and horizon.

    A step is one season (the largest divisor of it up to 96 rows, if it is longer; one row without a season). It
    sees the whole seasons that cover twice the horizon, and at least a week where a day is a season, else three
    seasons. The closed form has a single step that sees twice as far, logistic regression one that does not.
    ``wider`` above 1 multiplies that; below 1 it is the share taken of what all rules leave. Neither looks back
    further than thirty seasons,
    nor sees further than half of what lies before the horizon in ``history``, the rows a usual series has for
    training: windows must be many. Long horizons are forecast from fewer forks. Where a window has no two seasons
    there is no seasonal change to normalise by: ``seasonal`` becomes ``level``.

    Raises:
        ConfigError: SHAPE if a window is declared that is shorter than a season or a segment.
    """
    m = season_length
    segment = model.segment or (m if m <= 96 else max(d for d in range(1, 97) if m % d == 0))
    least = 7 * m if steps_per_day and m == steps_per_day else 3 * m
    window = -(-max(2 * horizon, least, 8) // m) * m
    window = ceil(window * (2 if model.kind == "linear" else 1) * max(model.wider, 1) / m) * m
    if m > 1:
        before = 0 if model.kind in ("linear", "logistic") else (model.steps - 1) * segment
        window = min(window, max(_SEASONS * m - before, 2 * m) // m * m)
    if history is not None:
        window = min(window, max((history - horizon) // 2 // m, 1) * m)
    window = model.window or max(round(window * min(model.wider, 1) / m), 1) * m
    for name, value, least in (("window", window, m), ("segment", window, segment)):
        if value < least:
            raise ConfigError(
                "SHAPE",
                f"`window: {window}` is shorter than {'a season' if name == 'window' else 'a segment'} ({least} rows).",
                "Choose a longer `window` in conf/model/, or null.",
            )
    differs = model.normalisation in ("seasonal", "auto")
    shape = {
        "window": window,
        "normalisation": "level" if differs and window < 2 * m else model.normalisation,
    }
    if model.kind in ("linear", "logistic"):
        return shape | {"segment": 1, "steps": 1, "forks": 1}
    forks = min(model.forks, max(1, _AHEAD // horizon))
    return shape | {"segment": segment, "steps": model.steps, "forks": forks, "reads": model.reads}
