"""Rows and steps of a recipe's sequences, resolved from season and horizon."""

from __future__ import annotations

from math import ceil
from typing import Any

from gatecast.core.errors import ConfigError
from gatecast.models.config import Linear, Recurrent, Single

_SEASONS = 30  # that a sequence looks back at most, unless a recipe says otherwise
_AHEAD = 672  # steps that the origins of a sequence forecast together


def resolve_shape(
    model: Single,
    season_length: int,
    horizon: int,
    steps_per_day: int | None,
    history: int | None = None,
) -> dict[str, Any]:
    """Rows and steps of a recipe's sequences, with ``null`` settings resolved.

    A stride is one season (the largest divisor of it up to 96 rows, if it is longer; one row without a season). The
    context is the whole seasons that cover twice the horizon, and at least a week where a day is a season, else three
    seasons. The closed form has a single step that sees twice as far, logistic regression one that does not.
    ``context_multiple`` above 1 multiplies that; below 1 it is the share taken of what all rules leave. Neither looks
    back further than thirty seasons, nor sees further than half of what lies before the horizon in ``history``, the
    rows a usual series has for training: windows must be many. Long horizons are forecast from fewer origins. Where a
    context has no two seasons there is no seasonal change to normalise by: ``seasonal`` becomes ``level``.

    Returns:
        Fields of :class:`gatecast.models.inputs.InputSpec`.

    Raises:
        ConfigError: SHAPE if a context is declared that is shorter than a season or the stride.
    """
    m = season_length
    stride = (model.stride if isinstance(model, Recurrent) else None) or _stride(m)
    least = 7 * m if steps_per_day and m == steps_per_day else 3 * m
    context = -(-max(2 * horizon, least, 8) // m) * m
    doubled = 2 if isinstance(model, Linear) else 1
    context = ceil(context * doubled * max(model.context_multiple, 1) / m) * m
    if m > 1:
        before = (model.n_steps - 1) * stride if isinstance(model, Recurrent) else 0
        context = min(context, max(_SEASONS * m - before, 2 * m) // m * m)
    if history is not None:
        context = min(context, max((history - horizon) // 2 // m, 1) * m)
    share = min(model.context_multiple, 1)
    context = model.context_length or max(round(context * share / m), 1) * m
    for name, rows in (("a season", m), ("the stride", stride)):
        if context < rows:
            raise ConfigError(
                "SHAPE",
                f"`context_length: {context}` is shorter than {name} ({rows} rows).",
                "Choose a longer `context_length` in conf/model/, or null.",
            )
    by_season = model.normalisation in ("seasonal", "auto")
    shape: dict[str, Any] = {
        "context_length": context,
        "normalisation": "level" if by_season and context < 2 * m else model.normalisation,
    }
    if not isinstance(model, Recurrent):
        return shape | {"stride": 1, "n_steps": 1, "n_origins": 1}
    return shape | {
        "stride": stride,
        "n_steps": model.n_steps,
        "n_origins": min(model.n_origins, max(1, _AHEAD // horizon)),
        "encoder_input": model.encoder_input,
    }


def _stride(season_length: int) -> int:
    """A season, or the largest divisor of it up to 96 rows."""
    if season_length <= 96:
        return season_length
    return max(d for d in range(1, 97) if season_length % d == 0)
