"""From a typed recipe to an untrained net. Nothing is imported by a name that an artifact holds."""

from __future__ import annotations

from torch import nn

from gatecast.models.config import Ensemble, Linear, Logistic, Model, Recurrent
from gatecast.models.ensemble import EnsembleForecaster, kept_recipes
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import InputSpec
from gatecast.models.linear import LinearForecaster
from gatecast.models.logistic import LogisticForecaster


def build(model: Model, spec: InputSpec) -> nn.Module:
    """Build an untrained forecaster of a recipe and its sizes."""
    match model:
        case Recurrent():
            return RecurrentForecaster(model, spec)
        case Linear():
            return LinearForecaster(model, spec)
        case Logistic():
            return LogisticForecaster(model, spec)
        case Ensemble():
            nets = [build(recipe, sizes) for recipe, sizes in kept_recipes(model, spec)]
            return EnsembleForecaster(model, spec, nets)
