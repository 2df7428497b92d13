"""Model recipes in one line."""

from __future__ import annotations

from typing import Any

from gatecast.models.config import Model
from gatecast.models.recipe import read_model


def model_of(**settings: Any) -> Model:
    """The model of a recipe with these settings."""
    return read_model(settings, "a test")


# Settings of a spec that change what a normalisation does.
NORMALISATIONS: dict[str, dict[str, Any]] = {
    "level": {},
    "level-patch": {"encoder_input": "patch"},
    "seasonal": {"normalisation": "seasonal"},
    "seasonal-log-patch": {
        "normalisation": "seasonal",
        "log_floor": 1e-9,
        "encoder_input": "patch",
    },
}
