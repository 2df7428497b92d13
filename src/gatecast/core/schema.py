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

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gatecast.core.errors import ConfigError, did_you_mean


class Schema(BaseModel):
    """Base of every typed setting: unknown keys are refused, types are strict enough to catch a typo.

    A schema's own checks raise ``PydanticCustomError(code, message)`` with a code in capitals (``COMBINATION``), or
    ``ValueError``, which becomes ``RANGE``.
    """

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


S = TypeVar("S", bound=BaseModel)

_BOUNDS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "above {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "below {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "at least {min_length} characters long",
}


def read(schema: type[S], content: Mapping[str, Any], where: str, prefix: str = "") -> S:
    """Read settings.

    Args:
        schema: what they must be.
        content: plain values, as YAML has them.
        where: file (or "the command line") for the message.
        prefix: of the key in that file, e.g. ``promote.``.

    Raises:
        ConfigError: UNKNOWN-KEY, VALUE (wrong type), CHOICE (none of the names), RANGE, or a schema's own code; it
            names the key, the file and the way out.
    """
    try:
        return schema.model_validate(dict(content))
    except ValidationError as error:
        raise explain(schema, error.errors(include_url=False)[0], where, prefix) from None


def explain(schema: type[BaseModel], fault: ErrorDetails, where: str, prefix: str) -> ConfigError:
    """One fault that pydantic has found, as a coded error."""
    path = [str(part) for part in fault["loc"]]
    key, value, context = prefix + ".".join(path), fault.get("input"), fault.get("ctx", {})
    kind = fault["type"]
    if kind == "extra_forbidden":
        known = known_keys(schema, path[:-1])
        return ConfigError(
            "UNKNOWN-KEY",
            f"{where}: there is no setting `{key}`.{did_you_mean(path[-1], known)}",
            f"Known here: {', '.join(sorted(known))}." if known else "Leave it out.",
        )
    if kind in ("literal_error", "enum"):
        names = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return ConfigError(
            "CHOICE",
            f"{where}: `{key}` is {value!r}, which is none of {names}."
            f"{did_you_mean(str(value), names.split(', '))}",
            f"Correct `{key}` in {where}.",
        )
    if kind in _BOUNDS or kind == "value_error":
        rule = _BOUNDS[kind].format(**context) if kind in _BOUNDS else str(context["error"])
        return ConfigError(
            "RANGE",
            f"{where}: `{key}` is {value!r}, but must be {rule}.",
            f"Correct `{key}` in {where}.",
        )
    if kind.isupper():  # a schema's own code
        return ConfigError(kind, f"{where}: {fault['msg']}", f"Correct it in {where}.")
    return ConfigError(
        "VALUE",
        f"{where}: `{key}` cannot be used: {value!r} is {_not(fault['msg'])}.",
        "Correct the value.",
    )


def _not(message: str) -> str:
    """``Input should be a valid integer, …`` -> ``not a valid integer, …``."""
    return "not " + message.removeprefix("Input should be ")


def known_keys(schema: type[BaseModel], path: list[str]) -> set[str]:
    """Names of the settings at a place of a schema; empty where that is no schema."""
    for part in path:
        field = schema.model_fields.get(part)
        inner = _schema_of(field.annotation) if field else None
        if inner is None:
            return set()
        schema = inner
    return set(schema.model_fields)


def _schema_of(annotation: Any) -> type[BaseModel] | None:
    """The schema in an annotation such as ``Splits``, ``Splits | None`` or ``list[RawFile]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_schema_of(part) for part in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)
