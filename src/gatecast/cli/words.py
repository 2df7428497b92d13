"""The words of a command line, as Hydra's override grammar has them.

seed=3  model.units=32   a value: ours, see :func:`rewritten`
model=lstm               a recipe of a group
+a=1  ++a=1  ~a          Hydra's own marks: left alone
-m  --cfg job            flags, which stand before or after all overrides together
"""

from __future__ import annotations

import re

from gatecast.config import GROUPS
from gatecast.core.schema import Schema, fields, type_name

_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)


def override_key(word: str) -> str:
    """``"++model.units=32"`` -> ``"model.units"``."""
    return word.lstrip("+~").split("=", 1)[0]


def group_of(word: str) -> str | None:
    """The group whose recipe a word chooses, or None."""
    key = override_key(word).split("@")[0].split(":")[0]
    return key if key in GROUPS and not word.startswith("-") and "=" in word else None


def rewritten(words: list[str], chosen: list[str], options: type[Schema]) -> list[str]:
    """The command line for Hydra.

    A value is set whether or not its recipe names the key (``++``), and a digest of digits stays a text. Words keep
    their order; the chosen recipes go before the first override, so that overrides stay together.

    Args:
        words: of the command line.
        chosen: ``group=recipe`` for groups that it does not name.
        options: of the command.
    """
    texts = {key for key, field in fields(options).items() if "text" in type_name(field.annotation)}
    out: list[str] = []
    first: int | None = None
    for word in words:
        key, equals, value = word.partition("=")
        override = bool(equals or word.startswith("~")) and not word.startswith("-")
        if override and first is None:
            first = len(out)
        plain = override and not word.startswith(("+", "~")) and not re.match(r"hydra[./@]", key)
        if plain and group_of(word) is None:
            value = f"'{value}'" if key in texts and _NUMBER.fullmatch(value) else value
            word = f"++{key}={value}"
        out.append(word)
    first = len(out) if first is None else first
    return [*out[:first], *chosen, *out[first:]]
