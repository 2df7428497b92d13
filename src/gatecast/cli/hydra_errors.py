"""Errors of Hydra and OmegaConf as coded paragraphs: the key, where it was set, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from gatecast.cli.origins import PARAMS
from gatecast.cli.project import recipes
from gatecast.cli.words import Line, several
from gatecast.core.errors import ConfigError, did_you_mean
from gatecast.core.schema import COMMAND_LINE

_GRAMMAR = "Quote a value that has commas, brackets or spaces: 'key=\"a, b\"'."


def explain(
    error: Exception,
    line: Line,
    folders: Sequence[Path],
    where: Callable[[str], str] = lambda key: COMMAND_LINE,
) -> ConfigError:
    """Turn an error of Hydra, OmegaConf or YAML into one of ours.

    Args:
        error: theirs.
        line: the command line.
        folders: in which Hydra looks for recipes.
        where: what has set a key.
    """
    import yaml

    text = " ".join(str(error).split())
    cause = " ".join(str(error.__cause__ or "").split())
    if isinstance(error, yaml.YAMLError):
        what = f"a recipe cannot be read: {text}"
        return ConfigError("YAML", what, "Correct the line it names.")
    whole = f"{text} {cause}"
    if m := re.search(r"Could not find '([\w/@]+)/([^'/]*)'", whole):
        return _no_recipe(m[1], m[2], whole, line, folders)
    if m := re.search(r"Ambiguous value for argument '(?:\+\+)?([^'=]+)=([^']*)'", whole):
        return several(m[1], m[2])
    if m := re.search(r"Error parsing override '([^']*)'", whole):
        what = f"{COMMAND_LINE}: `{m[1].removeprefix('++')}` cannot be read."
        return ConfigError("OVERRIDE", what, _GRAMMAR)
    override = getattr(error, "override", None)
    if override:
        what = f"{COMMAND_LINE}: `{override.removeprefix('++')}` cannot be read: {_short(text)}"
        return ConfigError("OVERRIDE", what, _GRAMMAR)
    full = re.search(r"full_key: (\S+)", whole)
    reason = _short(re.split(r" full_key:| object_type=", cause or text)[0])
    if full:
        at = where(full[1])
        way = "Change it there." if at != COMMAND_LINE else f"Change `{full[1]}=…`."
        return ConfigError("VALUE", f"{at}: `{full[1]}` cannot be used: {reason}", way)
    return ConfigError("HYDRA", f"{COMMAND_LINE}: {reason}", "Hydra's flags: --hydra-help.")


def _no_recipe(
    group: str, name: str, text: str, line: Line, folders: Sequence[Path]
) -> ConfigError:
    if group.startswith("hydra/"):
        known = re.search(r"Available options in '[^']*': (.*?)(?: Config search path|$)", text)
        fix = (
            f"There are: {', '.join(known[1].split())}."
            if known
            else "Hydra's flags: --hydra-help."
        )
        return ConfigError("RECIPE", f"{COMMAND_LINE}: Hydra has no {group}={name}.", fix)
    names = recipes(group, folders)
    where = PARAMS if group in line.by_params else COMMAND_LINE
    return ConfigError(
        "RECIPE",
        f"{where}: there is no recipe {folders[-1] / group / name}.yaml.{did_you_mean(name, names)}",
        f"Choose one of: {', '.join(names) or 'none is there'}.",
    )


def _short(text: str) -> str:
    """Without what follows in a message for its developers."""
    return (
        re.split(r" Config search path:| See https?://| Available options in", text)[0].rstrip(".")
        + "."
    )
