"""Reading a model recipe: flat settings become a typed model, or an error that says what is wrong with them.

    model = read_model({"cell": "gru", "decoder": "experts", "n_experts": 4}, "conf/model/mine.yaml")
    model.decoder.n_experts  # 4: a setting of the experts decoder, which other decoders do not have

Each key of a recipe is handed to the part of the model that has a setting of that name: the model itself, its decoder
or its head. A setting of a decoder, a head or a kind of model that the recipe has not chosen is refused. In an
ensemble, what stands beside ``members`` is a default for each member that has such a setting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatecast.core.errors import ConfigError, did_you_mean
from gatecast.core.schema import COMMAND_LINE, explain, no_choice
from gatecast.models.config import (
    KINDS,
    OF_ENSEMBLES,
    PARTS,
    SINGLE,
    Ensemble,
    Model,
    Single,
    all_fields,
    applicable,
    own_fields,
)
from gatecast.models.renamed import with_new_names


@dataclass(frozen=True)
class Where:
    """Where the settings of a recipe come from, for the messages.

    Attributes:
        file: of the recipe; "…, member 2" in an ensemble.
        overridden: settings that the command line or another file has set, and which of them it is.
    """

    file: str
    overridden: Mapping[str, str] = field(default_factory=dict)

    def of(self, *keys: str) -> str:
        """The file, or what has set these settings instead, or both."""
        names = {self.overridden.get(key, self.file) for key in keys}
        return " and ".join(sorted(names, key=lambda name: (name == COMMAND_LINE, name)))

    def key(self, key: str) -> str:
        """A setting as it is written there."""
        return f"model.{key}" if key in self.overridden else key


def read_model(
    content: Mapping[str, Any], where: str, overridden: Mapping[str, str] | None = None
) -> Model:
    """Read a model recipe; the only way to make a :data:`Model`.

    Args:
        content: flat settings, as YAML has them.
        where: file for the messages.
        overridden: settings that the command line or another file has set, and which of them it is.

    Raises:
        ConfigError: UNKNOWN-KEY, VALUE, CHOICE, RANGE; COMBINATION for settings that do not go together.
    """
    content = with_new_names(content, where, overridden or {})
    place = Where(where, overridden or {})
    kind = _chosen(content, "kind", KINDS, "recurrent", place)
    return _ensemble(content, place) if kind == "ensemble" else _single(content, place)


def _chosen(
    content: Mapping[str, Any],
    key: str,
    names: Collection[str],
    usual: str,
    where: Where,
) -> str:
    name = content.get(key, usual)
    if name not in tuple(names):
        raise no_choice(where.key(key), name, names, where.of(key))
    return str(name)


def _single(content: Mapping[str, Any], where: Where) -> Single:
    """Read a recipe that is not an ensemble."""
    kind = _chosen(content, "kind", tuple(SINGLE), "recurrent", where)
    _same_forecast(kind, content, where)
    schema = SINGLE[kind]
    nested: dict[str, Any] = {"kind": kind}
    parts: dict[str, dict[str, Any]] = {}
    if kind == "recurrent":
        for part, usual in (("decoder", "direct"), ("head", "quantile")):
            parts[part] = {"name": _chosen(content, part, PARTS[part], usual, where)}
    for key, value in content.items():
        owner = next((p for p, s in parts.items() if key in own_fields(PARTS[p][s["name"]])), None)
        if key in parts or (key == "head" and kind != "recurrent"):
            continue
        if key in schema.model_fields:
            nested[key] = value
        elif owner:
            parts[owner][key] = value
        else:
            raise _stray(key, kind, {p: s["name"] for p, s in parts.items()}, where)
    return _validated(schema, nested | parts, where)


def _validated(schema: Any, nested: dict[str, Any], where: Where) -> Any:
    try:
        return schema.model_validate(nested)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    # a recipe is flat: the message names the setting alone, not the part that holds it
    keys = [str(key) for key in fault["loc"] if key in all_fields(nested["kind"])][-1:]
    raise _explained(schema, fault, keys, where)


def _explained(
    schema: type[BaseModel], fault: ErrorDetails, keys: list[str], where: Where
) -> ConfigError:
    """A fault in a setting, or in how settings go together."""
    fault = {**fault, "loc": tuple(keys)}
    named = keys or list(filter(None, [fault.get("ctx", {}).get("key")]))
    if not named:
        others = sorted(set(where.overridden.values()) - {where.file})
        return explain(schema, fault, " and ".join([where.file, *others]), "")
    prefix = "model." if named[0] in where.overridden else ""
    return explain(schema, fault, where.of(named[0]), prefix)


def _same_forecast(kind: str, content: Mapping[str, Any], where: Where) -> None:
    """A closed form forecasts what it forecasts, whatever ``head`` says."""
    head = content.get("head")
    if (kind, head == "event") == ("linear", True):
        what = f"`kind: linear` forecasts quantiles, there is `head: {head}`"
    elif kind == "logistic" and head not in (None, "event"):
        what = f"`kind: logistic` forecasts an event, there is `head: {head}`"
    else:
        return
    at = where.of("kind", "head")
    raise ConfigError("COMBINATION", f"{at}: {what}.", f"Change one of them in {at}.")


def _stray(key: str, kind: str, parts: dict[str, str], where: Where) -> ConfigError:
    """A setting that the recipe does not have: of another part, of another kind of model, or of none."""
    owners = [
        (part, name)
        for part, choices in PARTS.items()
        for name, settings in choices.items()
        if key in own_fields(settings)
    ]
    if not parts or not owners:
        owners = [("kind", k) for k in SINGLE if key in all_fields(k)] or owners
    owners += [("kind", "ensemble")] if key in OF_ENSEMBLES else []
    if not owners:
        known = all_fields(kind)
        return ConfigError(
            "UNKNOWN-KEY",
            f"{where.of(key)}: there is no setting `{where.key(key)}`.{did_you_mean(key, known)}",
            f"Known here: {', '.join(sorted(known))}.",
        )
    of = " or ".join(f"`{part}: {name}`" for part, name in owners)
    chosen = {"kind": kind} | parts
    have = ", ".join(f"`{part}: {chosen[part]}`" for part in dict.fromkeys(p for p, _ in owners))
    at = where.of(key)
    return ConfigError(
        "COMBINATION",
        f"{at}: `{where.key(key)}` is a setting of {of}, but there is {have}.",
        f"Leave it out of {at}, or choose what has it.",
    )


def _ensemble(content: Mapping[str, Any], where: Where) -> Ensemble:
    """Read an ensemble: what stands beside ``members`` is a default for each member that has such a setting."""
    changes = content.get("members")
    if not isinstance(changes, list) or not changes:
        raise ConfigError(
            "RANGE",
            f"{where.of('members')}: `members` is {changes!r}, but must be a list of at least one recipe"
            " for `kind: ensemble`.",
            f"Correct `members` in {where.of('members')}.",
        )
    defaults = {k: v for k, v in content.items() if k not in ("kind", *OF_ENSEMBLES)}
    unused = set(defaults)
    members = []
    for k, own in enumerate(changes, 1):
        file = f"{where.file}, member {k}"
        if not isinstance(own, Mapping):
            fix = "Write its settings: {cell: lstm}."
            raise ConfigError("VALUE", f"{file}: {own!r} is not a mapping.", fix)
        own = with_new_names(own, file)
        here = Where(file, {k: w for k, w in where.overridden.items() if k not in own})
        kind = _chosen(own, "kind", tuple(SINGLE), "recurrent", here)
        chosen = defaults | own
        for part, choices in PARTS.items():
            _chosen(chosen, part, choices, next(iter(choices)), here)
        taken = applicable(defaults | own | {"kind": kind}).keys() & defaults.keys()
        _same_forecast(kind, chosen, here)
        unused -= taken | ({"head"} if kind != "recurrent" else set())
        recipe = {key: defaults[key] for key in defaults if key in taken}
        recipe |= {key: value for key, value in own.items() if key != "n_seeds"}
        n_seeds = own.get("n_seeds", content.get("n_seeds", 1))
        members.append({"model": _single(recipe, here), "n_seeds": n_seeds})
    if unused:
        key = min(unused)
        known = {key for kind in SINGLE for key in all_fields(kind)} | set(OF_ENSEMBLES)
        if key not in known:
            raise ConfigError(
                "UNKNOWN-KEY",
                f"{where.of(key)}: there is no setting `{where.key(key)}`.{did_you_mean(key, known)}",
                f"Known here: {', '.join(sorted(known))}.",
            )
        raise ConfigError(
            "COMBINATION",
            f"{where.of(key)}: `{where.key(key)}` beside `members` is a setting of none of them.",
            f"Leave it out of {where.of(key)}, or choose a member that has it.",
        )
    try:
        return Ensemble.model_validate({"kind": "ensemble", "members": members})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    raise _explained(Ensemble, fault, [str(key) for key in fault["loc"][-1:]], where)
