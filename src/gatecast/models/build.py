"""The closed registry of model kinds: a name and a typed recipe become a module. Nothing is imported by name."""

from __future__ import annotations

from torch import nn

from gatecast.models.config import Model
from gatecast.models.ensemble import EnsembleForecaster
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import InputSpec
from gatecast.models.linear import LinearForecaster
from gatecast.models.logistic import LogisticForecaster

KINDS: dict[
    str, type[RecurrentForecaster | LinearForecaster | LogisticForecaster | EnsembleForecaster]
] = {
    "recurrent": RecurrentForecaster,
    "linear": LinearForecaster,
    "logistic": LogisticForecaster,
    "ensemble": EnsembleForecaster,
}


def build(model: Model, spec: InputSpec) -> nn.Module:
    """Build an untrained forecaster.

    Raises:
        KeyError: for a kind that is not registered (``checks.check`` refuses it earlier).
    """
    return KINDS[model.kind](model, spec)
