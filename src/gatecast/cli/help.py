"""What ``--help`` prints: what a command does, its options, its recipes, and the settings of params.yaml it reads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gatecast.cli.project import load_params, recipes
from gatecast.cli.words import group_of
from gatecast.config import GROUPS, Settings
from gatecast.core.errors import ConfigError
from gatecast.core.schema import fields, schema_of, type_name

if TYPE_CHECKING:
    from gatecast.cli.frame import Command

_WIDTH = 110
_COLUMN = 26  # a longer cell pushes its row to the right

Row = tuple[str, str, str, str]


def page(command: Command, words: Iterable[str] = ()) -> str:
    """The help of a command.

    Args:
        command: whose.
        words: of the command line; the settings of a recipe that they choose are listed, too.
    """
    try:
        params, trouble = load_params(), ""
    except ConfigError as error:
        params, trouble = {}, f"\n\n({error.what})"
    sections = [command.doc, _section("Options", _options(command))]
    sections.append(
        _section("Recipes", [], [_recipes(g, recipes(g), params) for g in command.groups])
    )
    settings = _read(command, params)
    sections.append(_section("Settings of params.yaml that it reads, as they are now", settings))
    sections += [_chosen(group, name) for group, name in map(_choice, words) if group]
    sections.append(
        "Any setting can be given on the command line: key=value. Hydra's flags stand anywhere among them: -m runs once"
        " for each\nof key=value,value; --cfg job prints the configuration; --hydra-help lists the others."
    )
    return "\n\n".join(filter(None, sections)) + trouble


def rows(command: Command, words: Iterable[str] = ()) -> list[Row]:
    """Every key that a command takes, its type, default and meaning.

    Args:
        command: whose.
        words: of the command line; the settings of a recipe that they choose are among them.
    """
    chosen = [row for group, _ in map(_choice, words) if group for row in _of_recipe(group)]
    return [*_options(command), *_read(command, {}), *chosen]


def _options(command: Command) -> list[Row]:
    return [_row(key, field, _default(field)) for key, field in fields(command.options).items()]


def _read(command: Command, params: Mapping[str, Any]) -> list[Row]:
    return [row for key in command.reads for row in _settings(key, params)]


def _of_recipe(group: str) -> list[Row]:
    """The settings that a recipe of a group may have, and their defaults."""
    what = GROUPS[group]
    return [
        row
        for key, field in fields(what.schema()).items()
        for row in _rows(f"{what.package}.{key}", field, _default(field))
    ]


def _choice(word: str) -> tuple[str, str]:
    group = group_of(word)
    return (group, word.partition("=")[2]) if group else ("", "")


def _recipes(group: str, names: list[str], params: Mapping[str, Any]) -> str:
    now = f" (now {params[group]})" if params.get(group) else ""
    text = f"{group}: {', '.join(names)}{now}"
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="      ")


def _settings(key: str, params: Mapping[str, Any]) -> list[Row]:
    """The rows of a setting, or of all settings in a part of params.yaml."""
    schema: type[BaseModel] = Settings
    value: Any = params
    field: FieldInfo | None = None
    for part in key.split("."):
        field = fields(schema)[part]
        schema = schema_of(field.annotation) or schema
        value = value.get(part, _default(field)) if isinstance(value, Mapping) else _default(field)
    assert field is not None
    return _rows(f"{key}", field, value)


def _rows(key: str, field: FieldInfo, value: Any) -> list[Row]:
    inner = field.annotation if isinstance(field.annotation, type) else None
    if inner is None or not issubclass(inner, BaseModel):
        usual = _default(field)
        now = (
            _value(value)
            if field.is_required() or value == usual
            else f"{_value(value)} (default {_value(usual)})"
        )
        return [_row(key, field, now)]
    values = value if isinstance(value, Mapping) else {}
    return [
        row
        for name, below in fields(inner).items()
        for row in _rows(f"{key}.{name}", below, values.get(name, _default(below)))
    ]


def _chosen(group: str, name: str) -> str:
    """The settings of a recipe, with the values that it has."""
    what = GROUPS[group]
    path = Path("conf", group, f"{name}.yaml")
    text = path.read_text(encoding="utf-8") if path.is_file() else "there is none"
    lines = [f"  {line}" for line in text.splitlines()]
    table = _section(
        f"Settings of such a recipe, {what.package}.key=value, and their defaults",
        _of_recipe(group),
    )
    return "\n\n".join(filter(None, [_section(f"The recipe {path}", [], lines), table]))


def _default(field: FieldInfo) -> Any:
    return "required" if field.is_required() else field.get_default(call_default_factory=True)


def _row(key: str, field: FieldInfo, value: Any) -> Row:
    return (
        key,
        type_name(field.annotation),
        _value(value),
        " ".join((field.description or "").replace("``", "").split()),
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "settings"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return "null" if value is None else str(value) or '""'


def _section(title: str, rows: list[Row], lines: list[str] | None = None) -> str:
    """A titled table: key, type, value, meaning, the meaning folded into its column."""
    if not rows and not lines:
        return ""
    widths = [min(_COLUMN, max((len(row[i]) for row in rows), default=0)) for i in range(3)]
    out = [f"{title}:", *(lines or [])]
    for row in rows:
        head = "  " + "  ".join(
            f"{cell:{width}s}" for cell, width in zip(row, widths, strict=False)
        )
        indent = " " * (2 + sum(widths) + 6)
        first = f"{head}  " if len(head) <= len(indent) - 2 else f"{head}\n{indent}"
        meaning = textwrap.wrap(row[3], max(30, _WIDTH - len(indent))) or [""]
        out.append((first + f"\n{indent}".join(meaning)).rstrip())
    return "\n".join(out)
