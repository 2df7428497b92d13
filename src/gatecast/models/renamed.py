"""Names that settings had before.

Recipes, spaces of a search and overrides with them work for one more version, packages for good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gatecast.core.errors import ConfigError

NEW_NAMES = {
    "units": "hidden_size",
    "layers": "n_layers",
    "window": "context_length",
    "wider": "context_multiple",
    "segment": "stride",
    "steps": "n_steps",
    "forks": "n_origins",
    "reads": "encoder_input",
    "project": "input_projection",
    "mirror": "augment_sign",
    "skip": "linear_skip",
    "experts": "n_experts",
    "pieces": "decoder_patches",
    "paths": "n_paths",
    "emphasis": "relative_weight",
    "weigh": "series_weight",
    "spread_weight": "quantile_weight",
    "ridge": "penalties",
    "seeds": "n_seeds",
}
_NEW_VALUES = {"encoder_input": {"window": "context", "segment": "patch"}}


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings or sizes with the names and values of today."""
    new = {NEW_NAMES.get(key, key): value for key, value in content.items()}
    for key, values in _NEW_VALUES.items():
        if key in new and isinstance(new[key], str):
            new[key] = values.get(new[key], new[key])
    return new


def remark(where: str, new_names: Mapping[str, str]) -> None:
    """Print what settings with old names or values are called now."""
    if new_names:
        pairs = ", ".join(f"`{old}` is now `{new}`" for old, new in new_names.items())
        print(f"remark: {where}: {pairs}; the old names work until the next version", flush=True)


def with_new_names(
    content: Mapping[str, Any], where: str, overridden: Collection[str] = ()
) -> dict[str, Any]:
    """The settings of a recipe with the names and values of today, and a printed remark on each that had another.

    Args:
        content: settings.
        where: file for the messages.
        overridden: settings that the command line has set: each replaces the recipe's, whatever it is called there;
            of a range, it replaces the ends that it names.

    Raises:
        ConfigError: COMBINATION if a setting is there by both names.
    """
    content = dict(content)
    for old, new in NEW_NAMES.items():
        if old in content and new in content:
            if new in overridden:
                before, after = content.pop(old), content[new]
                if isinstance(before, dict) and isinstance(after, dict):
                    content[new] = before | after
                continue
            what = f"{where}: `{old}` is the old name of `{new}`, and both are there."
            raise ConfigError("COMBINATION", what, f"Leave `{old}` out of {where}.")
    new_names = {key: NEW_NAMES[key] for key in content if key in NEW_NAMES}
    for key, values in _NEW_VALUES.items():
        value = content.get(key)
        if isinstance(value, str) and value in values:
            new_names[f"{key}: {value}"] = f"{key}: {values[value]}"
    remark(where, new_names)
    return renamed(content)
