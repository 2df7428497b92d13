"""What is searched: the ranges of a recipe in ``conf/tune/``, laid over the model recipe that is tuned.

    space = Space.of(search, "lstm", model, fit, "conf/tune/default.yaml")
    model, fit = space.recipe(trial.params)

The recipe's own values always belong to the space: ranges are widened to hold them. A setting that is no single
number in the recipe (``hidden_size: [128, 64]``, ``context_length: null``) keeps its value
where the space has a range of numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from gatecast.core.errors import ConfigError, did_you_mean
from gatecast.core.schema import read
from gatecast.models.config import Model, Recurrent, all_fields, applicable, flat
from gatecast.models.recipe import read_model
from gatecast.models.renamed import with_new_names
from gatecast.training.config import Fit
from gatecast.training.trainer import OF_THE_MACHINE
from gatecast.tuning.config import Range, Search

# what the model is for, what scores it, and the machine
_FIXED = {"kind", "event", "max_validation_windows", *OF_THE_MACHINE}
_FIELDS = {key: field for key, field in all_fields().items() if key not in _FIXED}
_MODEL = tuple(_FIELDS)
_FIT = {key: field for key, field in Fit.model_fields.items() if key not in _FIXED}


@dataclass(frozen=True)
class Space:
    """A recipe and the values that are tried in the place of its own.

    ``base``: the recipe's own values; ``kept``: settings of the space that keep theirs. A list among choices is
    known to Optuna by its JSON text.
    """

    model: Model
    fit: Fit
    distributions: dict[str, BaseDistribution]
    base: dict[str, Any]
    kept: dict[str, Any]

    @classmethod
    def of(cls, search: Search, variant: str, model: Model, fit: Fit, where: str) -> Space:
        """Lay a search over a recipe.

        Args:
            search: the tuning recipe.
            variant: name of the model recipe, for messages.
            model, fit: the recipes that are tuned.
            where: file of the tuning recipe, for messages.

        Raises:
            ConfigError: KIND if the recipe is not of a kind that is tuned; UNKNOWN-KEY; RANGE; SPACE if the recipe
                cannot have a value of the space.
        """
        _refuse_kind(variant, model)
        usual = {key: f.get_default(call_default_factory=True) for key, f in _FIELDS.items()}
        own = usual | {key: value for key, value in flat(model).items() if key in usual}
        own |= {key: getattr(fit, key) for key in _FIT}
        ranges = with_new_names(search.space, where)
        for key in ranges:
            if key not in own:
                raise ConfigError(
                    "UNKNOWN-KEY",
                    f"{where}: `space.{key}` is not a setting that can be searched.{did_you_mean(key, own)}",
                    f"Of a model recipe: {', '.join(_MODEL)}; of a trainer recipe: {', '.join(_FIT)}.",
                )
        base: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        kept: dict[str, Any] = {}
        for key, r in ranges.items():
            if not r.choices and type(own[key]) not in (int, float):
                kept[key] = own[key]
                continue
            base[key] = _label(own[key])
            distributions[key] = _distribution(key, r, own[key], where)
        if not base:
            what = f"{where}: `space` has no setting that can be searched in conf/model/{variant}.yaml."
            raise ConfigError(
                "SPACE", what, "List `choices` for these settings: " + ", ".join(kept)
            )
        space = cls(model, fit, distributions, base, kept)
        for key, r in ranges.items():
            for value in r.choices or ([r.low, r.high] if key in base else []):
                space._check(key, value, variant, where)
        return space

    def recipe(self, params: dict[str, Any]) -> tuple[Model, Fit]:
        """The recipes with these values, sampled numbers to three digits.

        Raises:
            ConfigError: if they do not go together.
        """
        values = {key: self._rounded(key, _value(v)) for key, v in params.items()}
        of_model = {k: v for k, v in values.items() if k in _MODEL}
        model = read_model(applicable(flat(self.model) | of_model), "the trial")
        of_fit = {k: v for k, v in values.items() if k in _FIT}
        fit = read(Fit, self.fit.model_dump() | of_fit, "the trial")
        return model, fit

    def values(self, params: dict[str, Any]) -> dict[str, Any]:
        """The same values, as a recipe has them."""
        model, fit = self.recipe(params)
        found = flat(model) | fit.model_dump()
        return {key: found[key] for key in params if key in found}

    def _rounded(self, key: str, value: Any) -> Any:
        exact = type(value) is not float or value == self.base[key]
        return value if exact else float(f"{value:.3g}")

    def _check(self, key: str, value: Any, variant: str, where: str) -> None:
        """Each value must go with the recipe's others."""
        try:
            self.recipe({**self.base, key: _label(value)})
        except ConfigError as error:
            raise ConfigError(
                "SPACE",
                f"{where}: `space.{key}` holds {value!r}, which conf/model/{variant}.yaml cannot have: {error.what}",
                f"Correct it, or leave it out on the command line: '~search.space.{key}'.",
            ) from None


def settings_of_trainer(values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that belong to a trainer recipe."""
    return {key: value for key, value in values.items() if key in _FIT}


def _refuse_kind(variant: str, model: Model) -> None:
    name = f"conf/model/{variant}.yaml"
    ways = {
        "linear": "Its penalties are chosen on the validation span anyway: list more in `penalties`.",
        "logistic": "Its penalties are chosen on the validation span anyway: list more in `penalties`.",
        "ensemble": "Tune a recurrent recipe such as model=lstm_experts, then copy the values to its members"
        " (penalties of closed-form members are chosen on the validation span: list more in `penalties`).",
    }
    if not isinstance(model, Recurrent):
        what = f"{name} is of `kind: {model.kind}`: only recurrent recipes are tuned."
        raise ConfigError("KIND", what, ways[model.kind])
    if model.forecasts_event:
        what = f"{name} forecasts an event, which has no score of values to search by."
        raise ConfigError(
            "KIND", what, "Tune the same recipe with `head: quantile`, then copy the values."
        )


def _distribution(key: str, r: Range, own: Any, where: str) -> BaseDistribution:
    if r.choices:
        labels = [_label(value) for value in r.choices]
        return CategoricalDistribution(list(dict.fromkeys([_label(own), *labels])))
    wrong = ConfigError(
        "RANGE",
        f"{where}: `space.{key}` is a range from {r.low} to {r.high}, which `{key}` cannot have"
        f" ({own!r} in the recipe).",
        "Use whole numbers for a whole setting, numbers above 0 for `log`, and `choices` for names.",
    )
    low, high = min(r.low, own), max(r.high, own)
    if r.log and low <= 0:
        raise wrong
    if not _is_whole(key):
        return FloatDistribution(float(low), float(high), log=r.log)
    if type(low) is type(high) is int:
        return IntDistribution(low, high, log=r.log)
    raise wrong


def _is_whole(key: str) -> bool:
    """Whether a setting takes whole numbers."""
    # `int`, `int | None` or `int | list[int]`
    return "int" in str((_FIELDS | _FIT)[key].annotation)


def _label(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _value(label: Any) -> Any:
    return json.loads(label) if isinstance(label, str) and label.startswith("[") else label
