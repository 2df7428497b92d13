"""What Hydra has composed, read by the schemas of the rooms; an error says where the wrong value was set."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatecast.cli import catalogue
from gatecast.cli.origins import PARAMS, overridden, path_of
from gatecast.cli.project import CONF, recipes
from gatecast.config import GROUPS, Config, Settings
from gatecast.core.errors import ConfigError, did_you_mean
from gatecast.core.schema import COMMAND_LINE, known_keys, no_choice, origin, read

if TYPE_CHECKING:
    from gatecast.cli.frame import Command


@dataclass(frozen=True)
class Composed:
    """What Hydra has composed.

    Attributes:
        content: plain values: settings, recipes by their packages, options.
        choices: the chosen recipe of each Hydra group, also of groups that are not gatecast's.
        words: overrides of the command line.
        by_params: groups whose recipe params.yaml names.
        folders: in which Hydra looks for recipes, the first first.
        primary: name of the configuration.
    """

    content: Mapping[str, Any]
    choices: Mapping[str, str]
    words: Sequence[str] = ()
    by_params: Collection[str] = ()
    folders: Sequence[Path] = (CONF,)
    primary: str = "config"

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The chosen recipe of each of gatecast's groups."""
        return {group: self.choices[group] for group in GROUPS if group in self.choices}

    @cached_property
    def overridden(self) -> Mapping[str, str]:
        """Settings that were not set where they belong; see :func:`gatecast.cli.origins.overridden`."""
        return overridden(self.choices, self.words, self.folders, self.primary)

    def where(self, key: str, home: str = PARAMS) -> str:
        """What has set a key, or the first of the keys below it."""
        below = (w for k, w in self.overridden.items() if k.startswith(f"{key}."))
        return origin(key, self.overridden) or next(below, home)

    def file(self, group: str) -> str:
        """Of the chosen recipe."""
        return str(path_of(group, self.names[group], self.folders))

    def named_by(self, group: str) -> str:
        """What has chosen the recipe of a group."""
        return PARAMS if group in self.by_params else COMMAND_LINE


def judge(command: Command, composed: Composed) -> tuple[Config, Any]:
    """Read what Hydra has composed by the schemas.

    Returns:
        The configuration and the command's options.

    Raises:
        ConfigError: as :func:`gatecast.core.schema.read`, naming the key and its file, or the command line; RECIPE if
            a group of the command has none.
    """
    content, names, others = composed.content, composed.names, composed.overridden
    named = {key.split(".")[0] for key, where in others.items() if where == COMMAND_LINE}
    options, packages = known_keys(command.options, []), {g.package for g in GROUPS.values()}
    settings = known_keys(Settings, [])
    mine = {key: value for key, value in content.items() if key in options and key in named}
    rest = {k: v for k, v in content.items() if k not in packages and k not in mine}
    for key in rest:
        if key not in settings:
            _refuse_key(key, command, options, settings, composed.where(key))
    for group in command.groups:
        if group not in names:
            raise _no_recipe(group, composed)
    for group, name in names.items():
        known = recipes(group, composed.folders)
        if name not in known:
            raise no_choice(group, name, known, composed.named_by(group))
    whole = read(Settings, rest, PARAMS, overridden=others)
    if "variants" in command.reads or "DVC_STAGE" in os.environ:
        _require_recipes(whole.variants, composed.where("variants"))
    found = {}
    for group, what in GROUPS.items():
        inside: Any = content.get(what.package)
        if group in names:
            _require_settings(group, inside, composed)
            inside = inside | ({"name": names[group]} if group == "source" else {})
            paths = {"package": f"{what.package}.", "overridden": others}
            found[group] = what.read(inside, composed.file(group), **paths)
        elif inside is not None:
            raise ConfigError(
                "UNKNOWN-KEY",
                f"{composed.where(what.package)}: `{what.package}` is changed, but no recipe for"
                f" `{group}` is chosen.",
                f"Add `{group}=NAME` with a name from conf/{group}/, or leave it out.",
            )
    choices = {group: name for group, name in names.items() if group in settings}
    config = Config(whole.model_copy(update=choices), found, names, composed.words)
    return config, read(command.options, mine, COMMAND_LINE, overridden=others)


def _no_recipe(group: str, composed: Composed) -> ConfigError:
    known = recipes(group, composed.folders)
    return ConfigError(
        "RECIPE",
        f"{COMMAND_LINE}: `{group}` is null, but must be one of {', '.join(known)}.",
        f"Write {group}=NAME.",
    )


def _require_settings(group: str, inside: Any, composed: Composed) -> None:
    """Settings of a recipe must be where its package is: else the next check would blame another file."""
    package = GROUPS[group].package
    if isinstance(inside, dict):
        return
    by = origin(package, composed.overridden)
    if by:
        raise ConfigError(
            "VALUE",
            f"{by}: `{package}` is {inside!r}, but must be the settings of a recipe.",
            f"A recipe is chosen on the command line: {group}={composed.names[group]}.",
        )
    raise ConfigError(
        "VALUE",
        f"{composed.file(group)} sets nothing under `{package}`.",
        f"Put `# @package {package}` on its first line, and its settings below.",
    )


def _require_recipes(variants: list[str], where: str) -> None:
    """Raise RECIPE if a variant has none: before any work, not when the others have been trained."""
    known = recipes("model")
    for name in variants:
        if name not in known:
            raise ConfigError(
                "RECIPE",
                f"{where}: `variants` names {name}, but there is no recipe conf/model/{name}.yaml."
                f"{did_you_mean(name, known)}",
                f"Choose from: {', '.join(known)}.",
            )


def _refuse_key(
    key: str, command: Command, options: set[str], settings: set[str], where: str
) -> None:
    on_line = where == COMMAND_LINE
    known = options | settings if on_line else settings
    own = (
        f"Options of `{command.name}`: {', '.join(sorted(options)) or 'none'}. " if on_line else ""
    )
    others = [f"`{name}`" for name in _having(key)] if on_line else []
    hint = (
        f" It is an option of {', '.join(others)}."
        if others
        else did_you_mean(key, known | set(GROUPS))
    )
    raise ConfigError(
        "UNKNOWN-KEY",
        f"{where}: there is no setting `{key}`.{hint}",
        f"{own}Settings: {', '.join(sorted(settings))}.",
    )


def _having(option: str) -> list[str]:
    """Commands that have an option of this name."""
    commands = catalogue.commands()
    return [one.name for one in commands if option in known_keys(one.options, [])]
