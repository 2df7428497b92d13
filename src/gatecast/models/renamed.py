"""Names that settings had before: recipes with them work for one more version, packages for good."""

from __future__ import annotations

from collections.abc import Mapping
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


def with_new_names(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a recipe with the names of today, and a printed remark on each that had another.

    Raises:
        ConfigError: COMBINATION if a setting is there by both names.
    """
    old = [key for key in content if key in NEW_NAMES]
    for key in old:
        new = NEW_NAMES[key]
        if new in content:
            what = f"{where}: `{key}` is the old name of `{new}`, and both are there."
            raise ConfigError("COMBINATION", what, f"Leave `{key}` out of {where}.")
    if old:
        pairs = ", ".join(f"`{key}` is now `{NEW_NAMES[key]}`" for key in old)
        print(f"remark: {where}: {pairs}; the old names work until the next version", flush=True)
    return renamed(content) if old else dict(content)
