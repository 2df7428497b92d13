"""The parameters of MLflow runs: what tells a run from others, flat. ``settings.json`` beside them has everything.

    parameters.log(run_id, parameters.settings("gru", 1, flat(model), panel.meta, fit))

MLflow compares runs by the parameters in which they differ, and one that a run lacks counts as a difference: of the
many settings of a recurrent net, most of them defaults, a comparison with a closed form would show all. So a setting
is a parameter if it is one of the usual ones, or no default. What a panel is, its dataset says:
:func:`gatecast.registry.mlflow.runs.log_panel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatecast.core.errors import ConfigError
from gatecast.data.panel import FUTURE, PAST, PanelMeta
from gatecast.registry.mlflow import store
from gatecast.training.config import Fit

_USUAL = (
    *("kind", "cell", "hidden_size", "n_layers", "dropout", "decoder", "head"),
    *("context_length", "n_steps", "n_origins", "event"),
)
_USUAL_FIT = ("learning_rate", "batch_size", "max_epochs")
_SIZES = ("context_length", "n_steps", "normalisation")
# The most that a store takes: characters of a parameter, entries of one request.
_LENGTH = 6000
_ENTRIES = 100
# Runs that are looked at for parameters that differ.
_NEWEST = 100


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}, "c": [{"d": 2}]} -> {"a.b": "1", "c.1.d": "2"}."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(k): item for k, item in enumerate(value, 1)}
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": str(value)}
        )
    return flat


def settings(
    variant: str, seed: int | None, model: dict[str, Any], meta: PanelMeta, fit: Fit | None = None
) -> dict[str, Any]:
    """The parameters of a run, nested.

    Args:
        variant, seed: a baseline has no seed.
        model: the recipe, every setting written out.
        meta: of the panel.
        fit: how it is trained; None: without steps and epochs.
    """
    task = {key: getattr(meta, key) for key in ("horizon", "season_length", "frequency")}
    covariates = {
        role: [c.name for c in meta.channels if c.role == role] for role in (PAST, FUTURE)
    }
    covariates["static"] = [c.name for c in meta.static]
    seeded = {} if seed is None else {"seed": seed}
    groups = {"model": _telling(model), "task": task, "covariates": covariates}
    if fit is not None:
        # a name that stands after those of the model: MLflow draws the first few
        groups["trainer"] = _chosen(fit.model_dump(), type(fit)().model_dump(), _USUAL_FIT)
    return {"variant": variant, **seeded, **groups}


def _telling(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recipe that are usual ones, or no defaults of its kind, decoder and head."""
    # torch stays out of commands that only look at runs
    from gatecast.models.config import flat
    from gatecast.models.recipe import read_model

    if "members" in recipe:
        return recipe | {"members": [_telling(member) for member in recipe["members"]]}
    kind: dict[str, Any] = {
        key: recipe[key] for key in ("kind", "decoder", "head", "event") if key in recipe
    }
    try:
        defaults = flat(read_model(kind, "defaults"))
    # a baseline, or the recipe of another time
    except ConfigError:
        defaults = {}
    return _chosen(recipe, defaults, _USUAL)


def _chosen(
    content: dict[str, Any], defaults: dict[str, Any], usual: Sequence[str]
) -> dict[str, Any]:
    return {k: v for k, v in content.items() if k in usual or v != defaults.get(k)}


def sizes(spec: dict[str, Any]) -> dict[str, Any]:
    """What a recipe left open, as it was resolved: a group of parameters.

    Args:
        spec: of a package.
    """
    return {"spec": {key: spec[key] for key in _SIZES}}


def log(run_id: str, params: dict[str, Any]) -> None:
    """Log nested parameters flat, each cut to the length that a store takes."""
    from mlflow.entities import Param

    entries = [Param(key, value[:_LENGTH]) for key, value in flatten(params).items()]
    for begin in range(0, len(entries), _ENTRIES):
        store.client().log_batch(run_id, params=entries[begin : begin + _ENTRIES])


def differing(source: str, data_hash: str, names: Sequence[str]) -> list[str]:
    """Those of some parameters of which the newest evaluated runs on a panel have several values."""
    on_panel = f"tags.`gatecast.data_hash` = '{data_hash}' and metrics.test_smape >= 0"
    known = store.client().search_runs([store.experiment(source)], on_panel, max_results=_NEWEST)
    params = [run.data.params for run in known]
    return [name for name in names if len({p[name] for p in params if name in p}) > 1]
