"""What a setting may be: every recipe and every part of ``params.yaml`` is a typed model of the room it belongs to.

    class Fit(Schema):
        '''A trainer recipe.'''

        max_epochs: int = Field(20, ge=1)
        '''Epochs at most.'''

    fit = read(Fit, {"max_epochs": 0}, "conf/trainer/auto.yaml")
    # ConfigError[RANGE]: conf/trainer/auto.yaml: `max_epochs` is 0, but must be 1 or more.

The text below a field is its description, which ``--help`` prints.
"""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from gatecast.core.errors import ConfigError, did_you_mean


class Schema(BaseModel):
    """Base of every typed setting: unknown keys are refused, and so is a value of another type.

    ``"yes"`` is not a bool and 3.7 not an int, but 1 is a float. Where a list is meant, a single value is a list of
    one. A schema's own checks call :func:`require` or :func:`refuse`.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _lists_of_one(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        known = fields(cls)
        return {
            key: [value] if key in known and _means_one_of(known[key].annotation, value) else value
            for key, value in content.items()
        }


def _means_one_of(annotation: Any, value: Any) -> bool:
    """Whether a list is meant where there is a single value; ``list[str] | None`` means one, too."""
    if get_origin(annotation) in (Union, types.UnionType):
        meant = [one for one in get_args(annotation) if one is not types.NoneType]
        return len(meant) == 1 and _means_one_of(meant[0], value)
    if get_origin(annotation) is not list:
        return False
    settings = schema_of(annotation) is not None
    return isinstance(value, dict) if settings else isinstance(value, str | int | float)


def _text(value: Any) -> Any:
    return str(value) if type(value) in (int, float) else value


Text = Annotated[str, BeforeValidator(_text)]
"""A text that may look like a number, as the id of a series, the name of a column or a digest may."""

S = TypeVar("S", bound=BaseModel)

COMMAND_LINE = "the command line"

_BOUNDS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "above {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "below {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "at least {min_length} characters long",
    "finite_number": "a finite number",
}


def require(ok: bool, key: str, value: Any, rule: str) -> None:
    """A check of a schema that a value is in range.

    Args:
        ok: whether it is.
        key: of the value, below the schema; empty in the validator of a field.
        value: what was given.
        rule: what it must be: "1 or more".
    """
    if not ok:
        raise PydanticCustomError(
            "RANGE", "out of range", {"key": key, "value": value, "rule": rule}
        )


def refuse(code: str, what: str, fix: str = "") -> PydanticCustomError:
    """The error to raise for settings that do not go together, or need something from outside."""
    return PydanticCustomError(code, "refused", {"what": what, "fix": fix})  # type: ignore[arg-type]


def read(
    schema: type[S],
    content: Mapping[str, Any],
    where: str,
    prefix: str = "",
    package: str = "",
    overridden: Mapping[str, str] | None = None,
) -> S:
    """Read settings.

    Args:
        schema: what they must be.
        content: plain values, as YAML has them.
        where: file (or "the command line") for the message.
        prefix: of the key in that file, e.g. ``promote.``.
        package: of the key on the command line, e.g. ``feed.``.
        overridden: keys that the command line or another file has set, and which of them it is.

    Raises:
        ConfigError: UNKNOWN-KEY, VALUE (missing, or of a wrong type), CHOICE (none of the names), RANGE, or a
            schema's own code; it names the key, the file and the way out.
    """
    try:
        return schema.model_validate(dict(content))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = _key(schema, fault)
        set_by = origin(package + key, overridden or {})
        if set_by:
            raise explain(schema, fault, set_by, package) from None
        # settings that do not go together
        if fault["type"].isupper():
            below = {w for k, w in (overridden or {}).items() if k.startswith(f"{package}{key}.")}
            where = " and ".join([where, *sorted(below - {where})])
        raise explain(schema, fault, where, prefix) from None


def origin(key: str, overridden: Mapping[str, str]) -> str | None:
    """What has set a key or all that it is in, if it was not the file where it belongs; the last word counts."""
    plain = re.sub(r"\[\d+\]", "", key)
    found = (w for one, w in reversed([*overridden.items()]) if f"{plain}.".startswith(f"{one}."))
    return next(found, None)


def read_kind(
    kinds: Mapping[str, type[S]], content: Mapping[str, Any], where: str, **names: Any
) -> S:
    """Read settings whose ``kind`` says which schema they have; without one, the first.

    Args:
        kinds: schema of each kind.
        content, where, names: as :func:`read`.

    Raises:
        ConfigError: CHOICE if there is no such kind; else as :func:`read`.
    """
    kind = content.get("kind", next(iter(kinds)))
    if kind not in kinds:
        raise no_choice("kind", kind, kinds, where)
    return read(kinds[kind], content, where, **names)


def explain(schema: type[BaseModel], fault: ErrorDetails, where: str, prefix: str) -> ConfigError:
    """One fault that pydantic has found, as a coded error."""
    key, value, context = prefix + _key(schema, fault), fault.get("input"), fault.get("ctx", {})
    kind = fault["type"]
    correct = _way_out(key, where)
    if kind == "extra_forbidden":
        path = [str(part) for part in fault["loc"]]
        known = known_keys(schema, path[:-1])
        return ConfigError(
            "UNKNOWN-KEY",
            f"{where}: there is no setting `{key}`.{did_you_mean(path[-1], known)}",
            f"Known here: {', '.join(sorted(known))}." if known else "Leave it out.",
        )
    if kind == "literal_error":
        names = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return no_choice(key, value, names, where)
    if kind == "missing":
        return ConfigError("VALUE", f"{where}: `{key}` is missing.", f"Add `{key}` to {where}.")
    if kind in _BOUNDS or kind == "value_error":
        rule = _BOUNDS[kind].format(**context) if kind in _BOUNDS else str(context["error"])
        context = {"value": value, "rule": rule}
        kind = "RANGE"
    if kind == "RANGE":
        what = f"{where}: `{key}` is {context['value']!r}, but must be {context['rule']}."
        return ConfigError(kind, what, correct)
    if kind.isupper():  # a schema's own code
        fix = context.get("fix") or f"Change one of them in {where}."
        what = context.get("what", fault["msg"]).rstrip(".")
        return ConfigError(kind, f"{where}: {what}.", fix)
    reason = fault["msg"].removeprefix("Input should be ")
    reason = "a mapping" if kind in ("model_type", "dict_type") else reason
    what = f"{where}: `{key}` cannot be used: {value!r} is not {reason}."
    if where == COMMAND_LINE and isinstance(value, list):
        each = ",".join(map(str, value))
        correct = f"Give one value; `-m {key}={each}` runs once for each."
    return ConfigError("VALUE", what, correct)


def _way_out(key: str, where: str) -> str:
    if where == COMMAND_LINE:
        return f"Change `{key}=…` on the command line."
    return f"Correct `{key}` in {where}."


def no_choice(key: str, value: Any, names: Collection[str], where: str) -> ConfigError:
    """The error to raise for a setting that must be one of several names, and is not."""
    near = did_you_mean(str(value), names)
    what = f"{where}: `{key}` is {value!r}, but must be one of {', '.join(names)}.{near}"
    return ConfigError("CHOICE", what, _way_out(key, where))


def _key(schema: type[BaseModel], fault: ErrorDetails) -> str:
    """The key of a fault as a user writes it: ``task.splits.test``, ``files[0].path``."""
    key = ""
    annotation: Any = Any
    below: type[BaseModel] | None = schema
    for part in (*fault["loc"], *filter(None, [fault.get("ctx", {}).get("key")])):
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        if below is None and not _holds(annotation, dict):
            continue  # the member of a union of types that pydantic tried
        key += f".{part}" if key else part
        if below is not None:
            field = fields(below).get(part)
            annotation = field.annotation if field else Any
            mapping = _holds(annotation, dict)
        else:
            mapping = False
        below = None if mapping else schema_of(annotation)
    return key


def _holds(annotation: Any, kind: type) -> bool:
    """Whether an annotation is a ``dict[…]`` (or the like), or a union with one."""
    if get_origin(annotation) is kind or annotation is kind:
        return True
    unions = (Union, types.UnionType)
    return get_origin(annotation) in unions and any(_holds(a, kind) for a in get_args(annotation))


def known_keys(schema: type[BaseModel], path: list[str]) -> set[str]:
    """Names of the settings at a place of a schema; empty where that is not a schema."""
    for part in path:
        field = fields(schema).get(part)
        if field is None:
            continue  # the key of a mapping, or a position in a list
        inner = schema_of(field.annotation)
        if inner is None:
            return set()
        schema = inner
    return set(fields(schema))


def fields(schema: type[BaseModel]) -> dict[str, FieldInfo]:
    """The settings of a schema by the keys that users write."""
    return {field.alias or name: field for name, field in schema.model_fields.items()}


def schema_of(annotation: Any) -> type[BaseModel] | None:
    """The schema in an annotation such as ``Splits``, ``Splits | None`` or ``list[RawFile]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (schema_of(part) for part in get_args(annotation))
    return next((found for found in inner if found), None)


def type_name(annotation: Any) -> str:
    """A type as ``--help`` names it: ``int | null``, ``latest | all | none``, ``list of text``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(args[0])
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(arg) for arg in args)
    if origin is list:
        return f"list of {type_name(args[0])}"
    if origin is dict:
        return "mapping"
    if annotation is None or annotation is type(None):
        return "null"
    names: dict[Any, str] = {
        str: "text",
        bool: "true | false",
        float: "number",
        int: "whole number",
    }
    return names.get(annotation, "settings" if schema_of(annotation) else "any")
