"""The parameters of MLflow runs: what was chosen for a run, flat, without what is the same for every run on a panel.

    parameters.log(run_id, parameters.settings("gru", 1, flat(model), panel.meta, fit=fit.model_dump()))

What a panel is, its dataset says: :func:`gatecast.registry.mlflow.runs.log_panel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatecast.data.panel import FUTURE, PAST, PanelMeta
from gatecast.registry.mlflow import store

_SIZES = (
    *("context_length", "stride", "n_steps", "n_origins"),
    *("normalisation", "nonnegative", "augment_sign"),
)
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
    variant: str, seed: int | None, model: dict[str, Any], meta: PanelMeta, **more: Any
) -> dict[str, Any]:
    """The parameters of a run, nested: what was chosen for it. What the panel is, its dataset says.

    Args:
        variant, seed: a baseline has no seed.
        model: the recipe.
        meta: of the panel.
        more: further groups.
    """
    task = {key: getattr(meta, key) for key in ("horizon", "season_length", "frequency")}
    covariates = {
        role: [c.name for c in meta.channels if c.role == role] for role in (PAST, FUTURE)
    }
    covariates["static"] = [c.name for c in meta.static]
    seeded = {} if seed is None else {"seed": seed}
    return {
        "variant": variant,
        **seeded,
        "model": model,
        "task": task,
        "covariates": covariates,
        **more,
    }


def sizes(spec: dict[str, Any]) -> dict[str, Any]:
    """What a recipe left open, as it was resolved: a group of parameters.

    Args:
        spec: of a package.
    """
    return {"spec": {key: spec[key] for key in _SIZES}}


def log(run_id: str, params: dict[str, Any]) -> None:
    """Log nested parameters flat, each cut to the length that a store takes."""
    from mlflow.entities import Param

    flat = [Param(key, value[:_LENGTH]) for key, value in flatten(params).items()]
    for begin in range(0, len(flat), _ENTRIES):
        store.client().log_batch(run_id, params=flat[begin : begin + _ENTRIES])


def differing(source: str, data_hash: str, names: Sequence[str]) -> list[str]:
    """Those of some parameters of which the newest evaluated runs on a panel have several values."""
    on_panel = f"tags.`gatecast.data_hash` = '{data_hash}' and metrics.test_smape >= 0"
    known = store.client().search_runs([store.experiment(source)], on_panel, max_results=_NEWEST)
    params = [run.data.params for run in known]
    return [name for name in names if len({p[name] for p in params if name in p}) > 1]
