"""Rules of a value: a range, one of some names, a type; broken, they name the file, the key and the way out."""

from __future__ import annotations

import math
from typing import Any

from gatecast.core.errors import ConfigError, did_you_mean


def require(ok: bool, where: str, key: str, value: Any, rule: str) -> None:
    if not ok:
        raise ConfigError(
            "RANGE",
            f"{where}: `{key}` is {value!r}, but must be {rule}.",
            f"Correct `{key}` in {where}.",
        )


def one_of(value: str, known: tuple[str, ...], where: str, key: str) -> None:
    if value not in known:
        raise ConfigError(
            "CHOICE",
            f"{where}: `{key}` is {value!r}, which is none of {', '.join(known)}.{did_you_mean(value, known)}",
            f"Correct `{key}` in {where}.",
        )


def finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def typed(changes: dict[str, Any], where: str, schema: type) -> dict[str, Any]:
    """The values in the types of the schema, as those of a recipe are."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        whole = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), changes))
        return {key: getattr(whole, key) for key in changes}
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        what = f"{where}: `{error.full_key}` cannot be used: {reason}"
        raise ConfigError("VALUE", what, "Correct the value.") from None
