"""What a model takes in: the numbers that size it, and one batch of sequences.

Axes, here and in every model:

    B  sequences in a batch     T  encoder steps             K  origins that forecast (the last K of the T steps)
    W  context length           S  stride between two steps  H  horizon     Q  quantile levels
    R  rows of look-back before the last origin = W + (T - 1) S
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class InputSpec:
    """Sizes that the panel and the recipe resolve to; enough, with the recipe, to rebuild a model.

    ``context_length``: W, rows that one encoder step sees; ``stride``: S, rows between two steps.
    ``n_steps``: T, steps of a sequence; ``n_origins``: K, the last of them, which training forecasts from.
    ``*_cards``: number of codes (unknown included) of each categorical channel.
    ``nonnegative``: training targets come close to zero but never cross it, so forecasts do not either.
    ``log_floor``: smallest value whose logarithm is taken; 0: the target is used as it is.
    ``log_shift``: added to the target before its logarithm is taken, where it may be 0.
    ``normalisation``, ``encoder_input``: as in a recipe (:mod:`gatecast.models.config`), resolved.
    ``volume``: mean magnitude of the training targets, by which series are weighted; 0: all count alike.
    ``augment_sign``: training turns half of the sequences upside down.
    ``event``: forecast is its probability, ``{above: …}`` or ``{below: …}``; empty: quantiles are.
    ``members``: specs of an ensemble's members (None: left out); its own look-back is the longest of theirs.
    """

    horizon: int
    season_length: int
    context_length: int
    stride: int
    n_steps: int
    n_origins: int
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
    encoder_input: str = "context"
    augment_sign: bool = False
    volume: float = 0.0
    event: dict[str, float] = field(default_factory=dict)
    members: list[InputSpec | None] = field(default_factory=list)

    @property
    def lookback(self) -> int:
        """R, rows before the last origin of a sequence."""
        return self.context_length + (self.n_steps - 1) * self.stride

    @property
    def n_read(self) -> int:
        """Newest rows of its context that a step reads."""
        return self.context_length if self.encoder_input == "context" else self.stride

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
