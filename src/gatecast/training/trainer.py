"""Fitting a variant: recurrent ones by Lightning, the closed form by its normal equations, ensembles by member.

A recurrent run writes a checkpoint after every epoch into ``checkpoints/<variant>/<hash of config + data>/`` and
resumes from it when it is started again; the folder goes when the package is complete. On many devices it is one
process a device: rank 0 calls :func:`train`, the others :func:`assist`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gatecast.core import process
from gatecast.core.version import __version__
from gatecast.data.panel import Panel
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import all_training_windows, at_once, batches, validation_windows
from gatecast.feed.scaling import Scaling, fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models import calibration
from gatecast.models.build import build
from gatecast.models.config import Ensemble, Linear, Logistic, Model, Recurrent, flat
from gatecast.models.inputs import InputSpec
from gatecast.training import cost, distributed
from gatecast.training.config import Fit

CHECKPOINTS = Path("checkpoints")
_LINEAR_WINDOWS = 100_000  # that the closed form is fitted to, at most
_KNOWN_WINDOWS = 10_000  # of them, for its weights of what is known ahead
_LOGISTIC_WINDOWS = 32_768  # that logistic regression is fitted to, at most
OF_THE_MACHINE = ("accelerator", "devices", "threads", "log_every")  # may change over a resume


@dataclass
class Trained:
    """A fitted variant: the net to ship, what rebuilds it, and how it went.

    ``outcome`` holds facts of the fit that do not change from run to run; ``cost`` those that do (seconds, memory).
    """

    net: nn.Module
    spec: InputSpec
    scaling: Scaling
    outcome: dict[str, Any]
    cost: dict[str, float]


def train(
    variant: str,
    panel: Panel,
    model: Model,
    fit: Fit,
    seed: int,
    logger: Callable[[], Any] | None = None,
    callbacks: Sequence[Any] = (),
    label: str = "",
    calibrate: bool = True,
) -> Trained:
    """Fit a variant on a panel.

    Args:
        variant: name, for the checkpoint folder.
        panel: data and task.
        model: the recipe.
        fit: the trainer recipe.
        seed: of weights, windows and dropout.
        logger: makes a Lightning logger (called only if Lightning is used).
        callbacks: of Lightning, beside our own.
        label: begins the lines of progress.
        calibrate: intervals on the validation span; members of an ensemble are not, each on its own.

    Raises:
        TrainError: DIVERGED if a loss is not finite, DISK if a checkpoint cannot be written, RANK if another
            process of the training was lost, MEMBER if one of an ensemble was, DEVICES if what the recipe asks for
            is not there.
        SystemExit: 143 after SIGTERM, 130 after Ctrl-C; the last checkpoint is kept.
    """
    distributed.follow_launcher()
    ranks = distributed.ranks(fit)
    process.set_threads(fit.threads, ranks.local)
    spec, scaling = input_spec(panel, model), fit_scaling(panel)
    held = {"recurrent": ranks.world, "ensemble": torch.cuda.device_count()}.get(model.kind, 0)
    used = cost.stopwatch(fit, held)
    if model.kind in _CLOSED:
        net, outcome = _CLOSED[model.kind](panel, model, fit, spec, scaling, label)
    elif isinstance(model, Ensemble):
        net, outcome = _fit_ensemble(variant, panel, model, fit, seed, spec, scaling)
    else:
        from gatecast.training import recurrent

        assert isinstance(model, Recurrent)
        folder = _folder(variant, panel, model, fit, seed, spec)
        job = recurrent.Job(panel, model, fit, seed, spec, scaling, ranks, folder, label)
        net, outcome = recurrent.lead(job, logger, callbacks)
    if calibrate and not spec.event:
        _calibrate(net, panel, fit, spec, scaling)
    outcome["parameters"] = sum(t.numel() for t in net.state_dict().values())
    return Trained(net.eval(), spec, scaling, outcome, used())


def _calibrate(net: nn.Module, panel: Panel, fit: Fit, spec: InputSpec, scaling: Scaling) -> None:
    """Calibrate the intervals of a fitted net on the validation span."""
    assert isinstance(net, calibration.Calibrated)
    feed = PanelFeed(panel, spec, scaling, panel.meta)
    windows = validation_windows(panel, fit.max_validation_windows)
    held_out = batches(feed, windows, panel.split_points[1], at_once(spec.horizon))
    net.eval().calibrate(held_out)


def assist(variant: str, panel: Panel, model: Model, fit: Fit, seed: int) -> None:
    """Take part, in silence, in a training that rank 0 leads; closed form and ensembles need no help.

    Args:
        variant, panel, model, fit, seed: as rank 0 was told.
    """
    distributed.follow_launcher()
    if not isinstance(model, Recurrent):
        return
    ranks = distributed.ranks(fit)
    process.set_threads(fit.threads, ranks.local)
    from gatecast.training import recurrent

    spec, scaling = input_spec(panel, model), fit_scaling(panel)
    folder = _folder(variant, panel, model, fit, seed, spec)
    recurrent.follow(recurrent.Job(panel, model, fit, seed, spec, scaling, ranks, folder))


def discard_checkpoints(variant: str) -> None:
    """Remove what a complete package no longer needs."""
    shutil.rmtree(CHECKPOINTS / variant, ignore_errors=True)


def _fit_linear(
    panel: Panel,
    model: Linear,
    fit: Fit,
    spec: InputSpec,
    scaling: Scaling,
    label: str,
) -> tuple[nn.Module, dict[str, Any]]:
    from gatecast.models import linear

    net = build(model, spec)
    assert isinstance(net, linear.LinearForecaster)
    feed = PanelFeed(panel, spec, scaling, panel.meta)
    windows, few = (
        all_training_windows(panel, spec, most) for most in (_LINEAR_WINDOWS, _KNOWN_WINDOWS)
    )
    held_out = validation_windows(panel, fit.max_validation_windows)
    train_end, validation_end, _ = panel.split_points
    scores = linear.fit(
        net,
        lambda: batches(feed, windows, train_end, 1024),
        lambda: batches(feed, few, train_end, 1024),
        lambda: batches(feed, held_out, validation_end, 1024),
        model.penalties,
    )
    best = min(scores, key=lambda k: scores[k])
    for penalty, score in scores.items():
        chosen = "  <- chosen" if penalty == best else ""
        print(f"  {label}ridge penalty {penalty:g}: validation error {score:.4f}{chosen}")
    return net, {"ridge": best, "val_error": scores[best]}


def _fit_logistic(
    panel: Panel, model: Logistic, fit: Fit, spec: InputSpec, scaling: Scaling, label: str
) -> tuple[nn.Module, dict[str, Any]]:
    from gatecast.models import logistic

    net = build(model, spec)
    assert isinstance(net, logistic.LogisticForecaster)
    feed = PanelFeed(panel, spec, scaling, panel.meta)
    windows = all_training_windows(panel, spec, _LOGISTIC_WINDOWS)
    held_out = validation_windows(panel, fit.max_validation_windows, event=True)
    train_end, validation_end, _ = panel.split_points
    scores = logistic.fit(
        net,
        lambda: batches(feed, windows, train_end, 1024),
        lambda: batches(feed, held_out, validation_end, 1024),
        [0.01 * penalty for penalty in model.penalties],
    )
    best = min(scores, key=lambda k: scores[k])
    for penalty, score in scores.items():
        chosen = "  <- chosen" if penalty == best else ""
        print(f"  {label}ridge penalty {penalty:g}: validation log loss {score:.4f}{chosen}")
    return net, {"ridge": best, "val_error": scores[best]}


def in_closed_form(model: Model) -> bool:
    """Whether a recipe is fitted by its normal equations alone: settings of steps and epochs do not apply to it."""
    recipes = model.recipes if isinstance(model, Ensemble) else [model]
    return all(recipe.kind in _CLOSED for recipe in recipes)


_CLOSED: dict[str, Callable[..., tuple[nn.Module, dict[str, Any]]]] = {
    "linear": _fit_linear,
    "logistic": _fit_logistic,
}


def _fit_ensemble(
    variant: str,
    panel: Panel,
    model: Ensemble,
    fit: Fit,
    seed: int,
    spec: InputSpec,
    scaling: Scaling,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train the members side by side, then leave out those that the validation span vetoes."""
    from gatecast.models.ensemble import EnsembleForecaster, kept_recipes, veto
    from gatecast.training import members

    net = build(model, spec)
    assert isinstance(net, EnsembleForecaster)
    alone = fit.model_copy(update={"devices": 1, "threads": fit.threads or 1})
    tasks: dict[str, members.Task] = {}
    fitted: dict[str, Any] = {}
    for k, (recipe, sizes) in enumerate(kept_recipes(model, spec), 1):
        name = f"member {k}"
        # a closed form takes seconds: no process of its own pays
        if recipe.kind in _CLOSED:
            solve = _CLOSED[recipe.kind]
            fitted[name] = _sent(*solve(panel, recipe, fit, sizes, scaling, f"{name}: "))
        else:
            tasks[name] = partial(_member, f"{variant}/{k}", panel, recipe, alone, 1000 * seed + k)
    if tasks:
        devices = members.devices(alone)
        few = spec.members.count(None)
        why = f"; {few} others are left out: more weights than the data bear" if few else ""
        print(f"  {len(tasks)} nets, {min(len(devices), len(tasks))} at a time{why}", flush=True)
        fitted |= members.run(tasks, devices)
    outcome: dict[str, Any] = {}
    for k, member in enumerate(net.members, 1):
        weights, what = fitted[f"member {k}"]
        member.load_state_dict({key: torch.from_numpy(w) for key, w in weights.items()})
        outcome |= {f"member_{k}_{key}": value for key, value in what.items()}
    feed = PanelFeed(panel, spec, scaling, panel.meta)
    held_out = validation_windows(panel, fit.max_validation_windows, bool(spec.event))
    places_in_time = np.stack([held_out.series, held_out.origin // spec.horizon])
    blocks = np.unique(places_in_time, axis=1, return_inverse=True)[1].ravel()
    ready = batches(feed, held_out, panel.split_points[1], at_once(spec.horizon))
    scores, together = veto(net.eval(), ready, blocks)
    for k, (counts, score) in enumerate(zip(net.counts.tolist(), scores, strict=True), 1):
        print(f"  member {k}: validation error {score:.4f}{'' if counts else '  <- left out'}")
    print(f"  the mean of {int(net.counts.sum())} of them: validation error {together:.4f}")
    counted = {"members": len(net.members), "members_left_out": int((~net.counts).sum())}
    return net, outcome | counted | {"val_error": together}


def _member(
    variant: str, panel: Panel, model: Model, fit: Fit, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train a member in this process: its weights and its outcome."""
    label = f"member {variant.rpartition('/')[2]}: "
    trained = train(variant, panel, model, fit, seed, label=label, calibrate=False)
    return _sent(trained.net, trained.outcome)


def _sent(net: nn.Module, outcome: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights and outcome, as they travel between processes."""
    return {name: w.numpy() for name, w in net.state_dict().items()}, outcome


def _folder(variant: str, panel: Panel, model: Model, fit: Fit, seed: int, spec: InputSpec) -> Path:
    """Where the checkpoints are: another folder whenever resuming would be wrong."""
    facts = {
        "model": flat(model),
        "fit": {k: v for k, v in fit.model_dump().items() if k not in OF_THE_MACHINE},
        "seed": seed,
        "data": panel.meta.data_hash,
        "code": __version__,
        "weights": {name: list(w.shape) for name, w in build(model, spec).state_dict().items()},
    }
    text = json.dumps(facts, sort_keys=True)
    return CHECKPOINTS / variant / hashlib.sha256(text.encode()).hexdigest()[:16]
