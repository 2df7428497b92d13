"""The shipped recipes, read from conf/ without composing a command."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"
T = TypeVar("T")


def read(group: str, name: str, schema: type[T]) -> T:
    """A recipe as its typed config; an unknown key is an error."""
    node = OmegaConf.merge(
        OmegaConf.structured(schema), OmegaConf.load(CONF / group / f"{name}.yaml")
    )
    recipe = OmegaConf.to_object(node)
    assert isinstance(recipe, schema)
    return recipe
