"""Where a setting was set: the command line, params.yaml, the recipe it belongs to, or another file.

conf/trainer/auto.yaml            max_epochs: 10       where it belongs
conf/experiment/mine.yaml         fit: {max_epochs: 0} {"fit.max_epochs": "conf/experiment/mine.yaml"}
gatecast train fit.max_epochs=0                        {"fit.max_epochs": "the command line"}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatecast.cli.words import group_of, override_key
from gatecast.config import GROUPS
from gatecast.core.schema import COMMAND_LINE

PARAMS = "params.yaml"


def overridden(
    names: Mapping[str, str], words: Iterable[str], folders: Sequence[Path], primary: str = "config"
) -> dict[str, str]:
    """Settings that were not set where they belong, and what has set them.

    Args:
        names: recipe of each Hydra group, also of groups that are not gatecast's.
        words: overrides of the command line.
        folders: in which Hydra looks for recipes, the first first.
        primary: name of the configuration that is composed.
    """
    found: dict[str, str] = {}
    ours = [group for group in GROUPS if group in names]
    others = [group for group in names if group not in GROUPS and not group.startswith("hydra")]
    # as in the defaults list of conf/config.yaml: what comes later has the last word
    files = [(group, path_of(group, names[group], folders)) for group in ours]
    files += [(PARAMS, Path(PARAMS)), ("", path_of("", primary, folders))]
    files += [
        (group, path_of(group, names[group], folders)) for group in others if group != "params"
    ]
    for group, path in files:
        for key in _keys(path, "" if group == PARAMS else group):
            found.pop(key, None)
            if not _belongs(key, group):
                found[key] = str(path)
    on_line = [override_key(word) for word in words if group_of(word) is None]
    return found | dict.fromkeys(on_line, COMMAND_LINE)


def _belongs(key: str, group: str) -> bool:
    """Whether a setting belongs in a recipe of this group, or in params.yaml."""
    first = key.split(".")[0]
    if group in GROUPS:
        return first == GROUPS[group].package
    return group == PARAMS and first not in {what.package for what in GROUPS.values()}


def path_of(group: str, name: str, folders: Sequence[Path]) -> Path:
    """The file of a recipe, the first there is; where there is none, where it would be."""
    paths = [folder / group / f"{name}.yaml" for folder in folders]
    return next((path for path in paths if path.is_file()), paths[-1])


def _keys(path: Path, group: str) -> list[str]:
    """The keys that a file sets, down to its values, as the command line writes them."""
    import yaml

    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    header = re.match(r"\s*#\s*@package\s+(\S+)", text)
    package = header[1] if header else group.replace("/", ".")
    prefix = (
        "" if package == "_global_" else f"{package.replace('_group_', group)}." * bool(package)
    )
    below = content if isinstance(content, dict) else {}
    return [key for key in _leaves(below, prefix) if key.split(".")[0] not in ("defaults", "hydra")]


def _leaves(content: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
