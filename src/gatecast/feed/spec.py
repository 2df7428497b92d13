"""Sizes of a model for a panel: a recipe resolved on the data it will be trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gatecast.core.errors import ConfigError, TrainError
from gatecast.data import calendar
from gatecast.data.panel import FUTURE, PAST, STATIC, Panel, cardinalities, numeric
from gatecast.data.windows import training_rows
from gatecast.models.config import Ensemble, Model, Recurrent, Single
from gatecast.models.decoders.experts import Experts
from gatecast.models.heads.negative_binomial import NegativeBinomial
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import widths
from gatecast.models.shape import resolve_shape


def input_spec(panel: Panel, model: Model) -> InputSpec:
    """Sizes of a model for this panel.

    A member of an ensemble that mixes linear maps is left out where one map has more weights than there are values
    to train on (unless that would leave no member).

    Raises:
        TrainError: COUNTS if the recipe takes targets for counts, and one of them is negative.
        ConfigError: EVENT if it forecasts an event, and neither it nor the source says which.
    """
    targets = _Targets.of(panel)
    if not isinstance(model, Ensemble):
        return _input_spec(panel, model, targets)
    recipes = model.recipes
    specs = [_input_spec(panel, member, targets) for member in recipes]
    fits = [
        not (isinstance(member, Recurrent) and isinstance(member.decoder, Experts))
        or spec.horizon * widths(spec)[0] <= targets.known
        for member, spec in zip(recipes, specs, strict=True)
    ]
    kept = [spec if fit or not any(fits) else None for spec, fit in zip(specs, fits, strict=True)]
    longest = max((spec for spec in kept if spec), key=lambda spec: spec.lookback)
    return replace(longest, members=kept)  # an event is the same in all


def _input_spec(panel: Panel, model: Single, targets: _Targets) -> InputSpec:
    meta = panel.meta
    usual = int(np.median(panel.split_points[0]))
    least = targets.least
    mean = targets.mean
    recurrent = model if isinstance(model, Recurrent) else None
    if recurrent and isinstance(recurrent.head, NegativeBinomial) and least < 0:
        raise TrainError(
            "COUNTS",
            f"`head: negative_binomial` forecasts counts, but a training value is {least:g}.",
            "Choose `head: normal` or `student`, and `normalisation: level`.",
        )
    if model.normalisation == "auto":
        chosen = "seasonal" if _stays_positive(panel) else "level"
        model = model.model_copy(update={"normalisation": chosen})
    event = (model.event or meta.event) if model.forecasts_event else {}
    if model.forecasts_event and not event:
        raise ConfigError(
            "EVENT",
            f"the recipe has `head: event`, but source '{meta.source}' does not say which event.",
            f"Write `event: {{above: …}}` (or `below`) under `task` in conf/source/{meta.source}.yaml"
            " and run `dvc repro`, or `event` into the recipe in conf/model/.",
        )
    shape = resolve_shape(model, meta.season_length, meta.horizon, meta.steps_per_day, usual)
    normalisation = shape["normalisation"]
    if normalisation == "log" and least < 0:
        raise TrainError(
            "NEGATIVE",
            f"`normalisation: log` is for what is never negative, but a training value is {least:g}.",
            "Choose `normalisation: level`, or `auto`.",
        )
    shift = 0.01 * mean if normalisation == "log" else 0.0
    logs = normalisation in ("log", "seasonal") and 0 < least + shift < np.inf
    return InputSpec(
        horizon=meta.horizon,
        season_length=meta.season_length,
        **shape,
        n_past=len(numeric(meta.channels, PAST)),
        n_known=len(numeric(meta.channels, FUTURE)),
        n_static=len(numeric(meta.static, STATIC)),
        past_cards=cardinalities(meta.channels, PAST),
        known_cards=cardinalities(meta.channels, FUTURE),
        static_cards=cardinalities(meta.static, STATIC),
        n_calendar=sum(calendar.WIDTH[name] for name in meta.calendar),
        nonnegative=0 <= least <= 0.05 * mean,
        log_floor=(least + shift) / 2 if logs else 0.0,
        log_shift=shift,
        volume=targets.magnitude if recurrent and recurrent.series_weight == "volume" else 0.0,
        augment_sign=recurrent is not None
        and recurrent.augment_sign == "auto"
        and not event
        and _symmetric(panel, targets),
        event=dict(event),
    )


class _Targets(NamedTuple):
    """Of the training targets: the smallest (infinite if none), mean, mean magnitude, number, share below zero."""

    least: float
    mean: float
    magnitude: float
    known: int
    below: float

    @classmethod
    def of(cls, panel: Panel) -> _Targets:
        least, total, size, count, below = np.inf, 0.0, 0.0, 0, 0
        for rows, training in training_rows(panel):
            y = panel.values[rows, 0][training & panel.observed[rows]]
            least = min(least, float(y.min(initial=np.inf)))
            total, count = total + float(y.sum(dtype=np.float64)), count + len(y)
            size += float(np.abs(y).sum(dtype=np.float64))
            below += int((y < 0).sum())
        n = max(count, 1)
        return cls(least, total / n, size / n, count, below / n)


def _symmetric(panel: Panel, targets: _Targets) -> bool:
    """Whether up may be down: enough targets lie below zero, and nothing measured goes with them."""
    return targets.below >= 0.05 and len(panel.meta.channels) == 1


def _stays_positive(panel: Panel, most: int = 1000) -> bool:
    """Whether in a typical series no training value is below a fifth of their mean: changes are then relative.

    Looks at ``most`` series, evenly spread.
    """
    chosen = np.linspace(0, panel.n_series - 1, min(most, panel.n_series)).astype(np.int64)
    begin, end = panel.indptr[chosen], panel.indptr[chosen] + panel.split_points[0][chosen]
    parts = (panel.values[a:b, 0][panel.observed[a:b]] for a, b in zip(begin, end, strict=True))
    lowest = [max(float(y.min()), 0.0) / (abs(float(y.mean())) or 1.0) for y in parts if len(y)]
    return bool(lowest) and float(np.median(lowest)) >= 0.2
