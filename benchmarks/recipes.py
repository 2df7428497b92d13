"""The shipped recipes, read from conf/ without composing a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf

from gatecast.config import GROUPS
from gatecast.models.config import Model
from gatecast.models.recipe import read_model

CONF = Path(__file__).resolve().parents[1] / "conf"
T = TypeVar("T")


def read(group: str, name: str, schema: type[T]) -> T:
    """A recipe as its typed config; an unknown key is an error."""
    path = CONF / group / f"{name}.yaml"
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(content, dict)
    content |= {"name": name} if group == "source" else {}
    recipe = GROUPS[group].read(content, str(path))
    assert isinstance(recipe, schema)
    return recipe


def model_recipe(name: str, **changes: Any) -> Model:
    """A shipped model recipe, with changes."""
    path = CONF / "model" / f"{name}.yaml"
    return read_model(yaml.safe_load(path.read_text(encoding="utf-8")) | changes, str(path))


def model_of(**settings: Any) -> Model:
    """The model of a recipe with these settings."""
    return read_model(settings, "a benchmark")
