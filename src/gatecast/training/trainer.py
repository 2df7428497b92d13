"""Fitting a variant: recurrent ones by Lightning, the closed form by its normal equations.

A recurrent run writes a checkpoint after every epoch into ``checkpoints/<variant>/<hash of config + data>/`` and
resumes from it when it is started again; the folder goes when the package is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from gatecast import __version__, atomic
from gatecast.config import Fit, Model
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.errors import TrainError
from gatecast.models.build import build
from gatecast.models.inputs import Batch, InputSpec
from gatecast.training import runtime
from gatecast.training.feed import (
    PanelFeed,
    Scaling,
    TrainingWindows,
    batches,
    fit_scaling,
    input_spec,
    validation_windows,
)

CHECKPOINTS = Path("checkpoints")
_LINEAR_STEPS = 100  # times 1,024 windows: more change nothing in the third digit


@dataclass
class Trained:
    """A fitted variant: the net to ship, what rebuilds it, and how it went.

    ``outcome`` holds facts of the fit that do not change from run to run; ``cost`` those that do (seconds).
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
) -> Trained:
    """Fit a variant on a panel.

    Args:
        variant: name, for the checkpoint folder.
        panel: data and task.
        model: the recipe.
        fit: the trainer recipe.
        seed: of weights, windows and dropout.
        logger: makes a Lightning logger (called only if Lightning is used).

    Raises:
        TrainError: DIVERGED if the loss is not finite.
        SystemExit: 143 after SIGTERM, the last checkpoint kept.
    """
    runtime.set_threads(fit.threads)
    spec, scaling = input_spec(panel, model), fit_scaling(panel)
    wall, cpu = time.perf_counter(), time.process_time()
    if model.kind == "linear":
        net, outcome = _fit_linear(panel, model, fit, seed, spec, scaling)
    else:
        net, outcome = _fit_recurrent(variant, panel, model, fit, seed, spec, scaling, logger)
    outcome["parameters"] = sum(t.numel() for t in net.state_dict().values())
    cost = {
        "train_seconds": time.perf_counter() - wall,
        "train_cpu_seconds": time.process_time() - cpu,
    }
    return Trained(net.eval(), spec, scaling, outcome, cost)


def discard_checkpoints(variant: str) -> None:
    """Remove what a complete package no longer needs."""
    shutil.rmtree(CHECKPOINTS / variant, ignore_errors=True)


def _validation(panel: Panel, fit: Fit) -> Windows:
    windows = validation_windows(panel, fit.max_validation_windows)
    if not len(windows):
        raise TrainError(
            "NO-WINDOW",
            "the validation span has no window.",
            "Choose other `task.splits` in the source recipe.",
        )
    return windows


def _fit_linear(
    panel: Panel, model: Model, fit: Fit, seed: int, spec: InputSpec, scaling: Scaling
) -> tuple[nn.Module, dict[str, Any]]:
    from gatecast.models import linear

    net = build(model, spec)
    assert isinstance(net, linear.LinearForecaster)
    feed = PanelFeed(panel, spec, scaling, panel.meta)
    sampler = TrainingWindows(panel, spec, 1024, seed)
    steps = max(1, min(_LINEAR_STEPS, int((sampler.high - sampler.low).clip(0).sum()) // 1024))
    windows = [sampler.draw(0, step) for step in range(steps)]
    train_end, validation_end, _ = panel.split_points
    held_out = _validation(panel, fit)

    def training() -> Iterator[Batch]:
        for drawn in windows:
            yield feed.batch(drawn, train_end[drawn.series])

    scores = linear.fit(
        net, training, lambda: batches(feed, held_out, validation_end, 1024), model.ridge
    )
    best = min(scores, key=lambda k: scores[k])
    for penalty, score in scores.items():
        print(
            f"  ridge penalty {penalty:g}: validation error {score:.4f}{'  <- chosen' if penalty == best else ''}"
        )
    return net, {"ridge": best, "val_error": scores[best]}


class _Ready:
    """Batches that are ready, as one data loader (Lightning takes a bare list for many)."""

    def __init__(self, ready: list[Batch]) -> None:
        self.ready = ready

    def __len__(self) -> int:
        return len(self.ready)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.ready)


class _Epochs:
    """Ready batches of one epoch at a time, as Lightning iterates them."""

    def __init__(
        self, feed: PanelFeed, windows: TrainingWindows, steps: int, epoch: Callable[[], int]
    ) -> None:
        self.feed, self.windows, self.steps, self.epoch = feed, windows, steps, epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        for step in range(self.steps):
            drawn = self.windows.draw(epoch, step)
            yield self.feed.batch(drawn, self.windows.limit[drawn.series])


def _fit_recurrent(
    variant: str,
    panel: Panel,
    model: Model,
    fit: Fit,
    seed: int,
    spec: InputSpec,
    scaling: Scaling,
    logger: Callable[[], Any] | None,
) -> tuple[nn.Module, dict[str, Any]]:
    runtime.tune_allocator()
    import torch

    from gatecast.training.module import ForecasterModule

    torch.manual_seed(seed)
    module = ForecasterModule(model, spec, fit, seed)
    folder = CHECKPOINTS / variant / _run_hash(panel, model, fit, seed)
    complete = folder / "complete.json"  # written when the fit has ended
    if complete.is_file():
        print(f"resuming from {folder}, which is complete")
    else:
        feed = partial(PanelFeed, panel, spec, scaling, panel.meta)
        outcome = _run_lightning(module, panel, feed, fit, seed, folder, logger)
        atomic.write_json(complete, outcome)
    best = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    return module.average.cpu(), dict(json.loads(complete.read_text(encoding="utf-8")))


def _run_lightning(
    module: Any,
    panel: Panel,
    make_feed: Callable[..., PanelFeed],
    fit: Fit,
    seed: int,
    folder: Path,
    logger: Callable[[], Any] | None,
) -> dict[str, Any]:
    """Fit with Lightning from the last checkpoint in ``folder``, if there is one; leaves ``best.ckpt`` there."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichModelSummary
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    from gatecast.training.progress import progress_callback

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    best = ModelCheckpoint(folder, "best", monitor="val_loss", enable_version_counter=False)
    every = ModelCheckpoint(
        folder, "last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = pl.Trainer(
        accelerator=fit.accelerator,
        devices=1,
        max_epochs=fit.max_epochs,
        gradient_clip_val=fit.gradient_clip,
        callbacks=[
            best,
            every,
            EarlyStopping("val_loss", patience=fit.patience, check_finite=True),
            RichModelSummary(max_depth=2),
            progress_callback(),
        ],
        logger=logger() if logger else False,
        num_sanity_val_steps=0,
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=fit.steps_per_epoch,
        default_root_dir=folder,
    )
    feed = make_feed(trainer.strategy.root_device)
    windows = TrainingWindows(panel, feed.spec, fit.batch_size, seed)
    epochs = _Epochs(feed, windows, fit.steps_per_epoch, lambda: trainer.current_epoch)
    held_out = _Ready(list(batches(feed, _validation(panel, fit), panel.split_points[1], 256)))
    last = folder / "last.ckpt"
    resume = last if last.is_file() else None
    if resume:
        print(f"resuming from {resume}")
    again = f"run again to go on from {last}"
    try:
        trainer.fit(module, epochs, held_out, ckpt_path=resume, weights_only=True)
    except SIGTERMException:
        print(f"stopped by SIGTERM after epoch {trainer.current_epoch}; {again}", file=sys.stderr)
        raise SystemExit(143) from None
    if trainer.interrupted:
        print(f"interrupted after epoch {trainer.current_epoch}; {again}", file=sys.stderr)
        raise SystemExit(130)
    score = math.nan if best.best_model_score is None else float(best.best_model_score)
    if not math.isfinite(score):
        raise TrainError(
            "DIVERGED",
            f"the validation loss is not finite after {trainer.global_step} steps.",
            "Lower `learning_rate` in conf/trainer/.",
        )
    return {"val_loss": score, "epochs": trainer.current_epoch, "steps": trainer.global_step}


def _run_hash(panel: Panel, model: Model, fit: Fit, seed: int) -> str:
    """Changes whenever resuming would be wrong: another recipe, trainer, seed or data."""
    facts = {
        "model": asdict(model),
        "fit": asdict(fit),
        "seed": seed,
        "data": panel.meta.data_hash,
        "code": __version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
