"""The words of a command line, as Hydra's override grammar has them.

seed=3  model.hidden_size=32   a value: ours, see :func:`rewritten`
model=lstm                     a recipe of a group
+a=1  ++a=1  ~a                Hydra's own marks: left alone
-m  --cfg job                  flags, which stand before or after all overrides together
"""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, Union, get_args, get_origin

from gatecast.config import GROUPS
from gatecast.core.schema import COMMAND_LINE, Schema, fields
from gatecast.models.renamed import NEW_NAMES, remark

_QUOTED = re.compile(r"""'([^'\\]|\\.)*'|"([^"\\]|\\.)*\"""")
_OF_MODELS = ("model", "search.space")
_ONE_THRESHOLD = ("feed.task.event", "model.event")


def override_key(word: str) -> str:
    """``"++model.hidden_size=32"`` -> ``"model.hidden_size"``."""
    return word.lstrip("+~").split("=", 1)[0]


def group_of(word: str) -> str | None:
    """The group whose recipe a word chooses, or None."""
    key = override_key(word).split("@")[0].split(":")[0]
    return key if key in GROUPS and not word.startswith("-") and "=" in word else None


def spelt_out(words: list[str], options: type[Schema], argument: str) -> list[str]:
    """The command line with every option as ``key=value``.

    Args:
        words: of the command line, such as ``["sales", "--from", "sales.csv"]``.
        options: of the command.
        argument: option that a first word without a key is the value of; empty: none.
    """
    out: list[str] = []
    for word in words:
        before = out[-1] if out else ""
        key = word.removeprefix("--").partition("=")[0]
        if argument and not out and not word.startswith(("-", "+", "~")) and "=" not in word:
            word = f"{argument}={word}"
        elif before.startswith("--") and before[2:] in fields(options) and word[:1] != "-":
            word = f"{out.pop()[2:]}={word}"
        elif word.startswith("--") and "=" in word and key in fields(options):
            word = word[2:]
        out.append(word)
    return out


def rewritten(words: list[str], chosen: list[str], options: type[Schema]) -> list[str]:
    """The command line for Hydra.

    A value is set whether or not its recipe names the key (``++``). A text option is quoted, so that it may hold any
    characters. An event takes the place of the recipe's: Hydra alone would merge the two thresholds. Old names of
    model settings become those of today. Words keep their order; the chosen recipes go before the first override, so
    that overrides stay together.

    Args:
        words: of the command line.
        chosen: ``group=recipe`` for groups that it does not name.
        options: of the command.
    """
    texts = {key for key, field in fields(options).items() if _is_text(field.annotation)}
    optional = {key for key in texts if fields(options)[key].default is None}
    out: list[str] = []
    first: int | None = None
    for word in words:
        word = _with_new_name(word)
        key, equals, value = word.partition("=")
        override = bool(equals or word.startswith("~")) and not word.startswith("-")
        if override and first is None:
            first = len(out)
        plain = override and not word.startswith(("+", "~")) and not re.match(r"hydra[./@]", key)
        if plain and group_of(word) is None:
            if key in texts and not (key in optional and value == "null"):
                value = _quoted(value)
            if key in _ONE_THRESHOLD:
                # a sweep keeps one word per key and mark: two marks
                out.append(f"++{key}=null")
                word = f"+{key}={value}"
            else:
                word = f"++{key}={value}"
        out.append(word)
    first = len(out) if first is None else first
    return [*out[:first], *chosen, *out[first:]]


def _is_text(annotation: Any) -> bool:
    """Whether a setting is a free text: ``Text``, ``str | None``; not one of several names, and no list."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_text(args[0])
    if origin in (Union, types.UnionType):
        return any(map(_is_text, args))
    return annotation is str


def _quoted(value: str) -> str:
    """A text in Hydra's quotes, unless it has some: what stands between them is taken as it is."""
    if _QUOTED.fullmatch(value):
        return value
    # backslashes count only before a quote or an interpolation
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    value = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + (m[2] and "\\'"), value)
    return f"'{value}'"


def _with_new_name(word: str) -> str:
    """An override of a model setting by the name of today, with a printed remark if it had another."""
    key = override_key(word)
    for package in _OF_MODELS:
        old, *below = key.removeprefix(f"{package}.").split(".")
        if word.startswith("-") or not key.startswith(f"{package}.") or old not in NEW_NAMES:
            continue
        remark(COMMAND_LINE, {f"{package}.{old}": f"{package}.{NEW_NAMES[old]}"})
        new = ".".join([package, NEW_NAMES[old], *below])
        return word.replace(key, new, 1)
    return word
