"""Fitting a recurrent variant with Lightning, on one device or on many.

Rank 0 leads: it starts the other ranks of its machine (unless torchrun did), and alone logs, prints and writes
checkpoints. The others follow, and end when it ends.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from gatecast.core import atomic, process
from gatecast.core.errors import TrainError
from gatecast.data.panel import Panel
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import TrainingWindows, at_once, batches, validation_windows
from gatecast.feed.scaling import Scaling
from gatecast.models.config import Recurrent
from gatecast.models.inputs import Batch, InputSpec
from gatecast.training import distributed
from gatecast.training.checkpoints import AtomicCheckpointIO, disk_errors, readable
from gatecast.training.config import Fit
from gatecast.training.module import Diverged, ForecasterModule
from gatecast.training.progress import Progress, Summary

_NAMED = 5  # series that a message lists


@dataclass(frozen=True)
class Job:
    """One training, as one of its ranks sees it; ``folder`` is for its checkpoints, ``label`` begins its lines."""

    panel: Panel
    model: Recurrent
    fit: Fit
    seed: int
    spec: InputSpec
    scaling: Scaling
    ranks: distributed.Ranks
    folder: Path
    label: str = ""

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the least validation loss."""
        return self.folder / "best.ckpt"

    @property
    def complete(self) -> Path:
        """Written when the fit has ended: its outcome."""
        return self.folder / "complete.json"

    def module(self) -> ForecasterModule:
        """A module with the weights that the seed gives."""
        torch.manual_seed(self.seed)
        return ForecasterModule(self.model, self.spec, self.fit, self.seed, self.ranks)


def lead(
    job: Job, logger: Callable[[], Any] | None = None, callbacks: Sequence[Callback] = ()
) -> tuple[nn.Module, dict[str, Any]]:
    """Fit as rank 0, from the last checkpoint if there is one.

    Returns:
        The net with the best averaged weights (float32, on the CPU), and the outcome.

    Raises:
        TrainError, SystemExit: see :func:`gatecast.training.trainer.train`.
    """
    process.tune_allocator()
    if job.complete.is_file() and readable(job.best):
        print(f"  {job.label}resuming from {job.folder}, which is complete")
    else:
        trainer = _trainer(job, logger, callbacks)
        with distributed.launching(), _reported(job, trainer):
            _fit(job, trainer)
        score = trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
        outcome = {
            "val_loss": float(score),
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
        }
        with disk_errors(job.complete):
            atomic.write_json(job.complete, outcome)
    module = job.module()
    best = torch.load(job.best, map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    return module.average, dict(json.loads(job.complete.read_text(encoding="utf-8")))


def follow(job: Job) -> None:
    """Fit as another rank; what stops all ranks alike is reported by rank 0."""
    process.tune_allocator()
    if not (job.complete.is_file() and readable(job.best)):
        with suppress(Diverged, SIGTERMException):
            _fit(job, _trainer(job))


def _trainer(
    job: Job, logger: Callable[[], Any] | None = None, more: Sequence[Callback] = ()
) -> pl.Trainer:
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    best = _Checkpoint(job.folder, job.best.stem, monitor="val_loss", enable_version_counter=False)
    last = _Checkpoint(
        job.folder, job.last.stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    stop = _EarlyStopping("val_loss", patience=job.fit.patience)
    callbacks: list[Callback] = [best, last, stop, *more]
    if job.ranks.rank == 0:
        callbacks += [Progress(job.label), *([] if job.label else [Summary()])]
    many = job.ranks.world > 1
    try:
        return pl.Trainer(
            accelerator=_accelerator(job.fit.accelerator),
            devices=job.ranks.local,
            num_nodes=job.ranks.world // job.ranks.local,
            strategy=DDPStrategy(broadcast_buffers=False) if many else "auto",
            precision=_precision(job.fit),
            max_epochs=job.fit.max_epochs,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            logger=logger() if logger else False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # ranks share each batch, nothing is padded
            default_root_dir=job.folder,
        )
    except MisconfigurationException as error:
        raise TrainError(
            "DEVICES",
            f"{' '.join(str(error).split())}",
            "Choose another trainer recipe: trainer=auto takes what there is.",
        ) from None


def _accelerator(wanted: str) -> str:
    """``auto``: a CUDA device if there is one, else the CPU. (Apple's GPUs lack the float64 of the scaling.)"""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if wanted == "gpu" else wanted


def _precision(fit: Fit) -> Any:
    """The recipe's, if the processor has it.

    Raises:
        TrainError: PRECISION.
    """
    on_cpu = _accelerator(fit.accelerator) == "cpu"
    if fit.precision == "bf16-mixed" and on_cpu and not process.cpu_has_bfloat16():
        raise TrainError(
            "PRECISION",
            "`precision: bf16-mixed` needs a processor that computes in bfloat16; this one does not.",
            "Write `precision: 32-true` into the trainer recipe, or train on a GPU.",
        )
    return fit.precision


class _Checkpoint(ModelCheckpoint):
    """Remembers the best epoch also where the project folder was moved in between."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        moved = dict(state, dirpath=str(here))
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = str(here / Path(state[key]).name) if state[key] else ""
        kept = state["best_k_models"].items()
        moved["best_k_models"] = {str(here / Path(path).name): score for path, score in kept}
        super().load_state_dict(moved)


class _EarlyStopping(EarlyStopping):
    """Trains no further epoch after a resume if it had stopped already."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def _fit(job: Job, trainer: pl.Trainer) -> None:
    """Fit to the end, or from the last checkpoint; leaves ``best.ckpt``."""
    double = job.fit.precision == "64-true"
    feed = PanelFeed(job.panel, job.spec, job.scaling, job.panel.meta, trainer.strategy.root_device)
    rank, world = job.ranks.rank, job.ranks.world
    windows = TrainingWindows(job.panel, job.spec, job.fit.batch_size, job.seed, rank, world)

    def batch(epoch: int, step: int) -> Batch:
        drawn = windows.draw(epoch, step)
        ready = feed.batch(drawn, windows.limit[drawn.series])
        return _double(ready) if double else ready

    event = bool(job.spec.event)
    held_out = validation_windows(job.panel, job.fit.max_validation_windows, event)[rank::world]
    ready = list(batches(feed, held_out, job.panel.split_points[1], at_once(job.spec.horizon)))
    resume = job.last if readable(job.last) else None
    if rank == 0 and job.last.is_file():
        bad = f"{job.last} cannot be read: starting from the first epoch"
        print(f"resuming from {resume}" if resume else bad)
    trainer.fit(
        job.module(),
        _Blocks(job.fit, batch, lambda: trainer.current_epoch),
        _Once([_double(b) for b in ready] if double else ready),
        ckpt_path=resume,
        weights_only=True,
    )


def _double(batch: Batch) -> Batch:
    return Batch(*(x.double() if x.is_floating_point() else x for x in batch))


class _Blocks:
    """The batches of one epoch at a time, in blocks of steps, as Lightning iterates them."""

    def __init__(
        self, fit: Fit, batch: Callable[[int, int], Batch], epoch: Callable[[], int]
    ) -> None:
        self.fit, self.batch, self.epoch = fit, batch, epoch

    def __len__(self) -> int:
        return -(-self.fit.steps_per_epoch // self.fit.log_every)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        epoch, steps = self.epoch(), range(self.fit.steps_per_epoch)
        for first in steps[:: self.fit.log_every]:
            block = steps[first : first + self.fit.log_every]
            yield (self.batch(epoch, step) for step in block)


class _Once:
    """One block: all batches of a validation."""

    def __init__(self, ready: list[Batch]) -> None:
        self.ready = ready

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        yield iter(self.ready)


@contextmanager
def _reported(job: Job, trainer: pl.Trainer) -> Iterator[None]:
    """On rank 0: no other rank outlives the block, and what ended the fit is said as an error or an exit code."""
    again = f"run again to go on from {job.last}"
    try:
        yield
    except BaseException as error:
        lost = distributed.end_ranks(_children(trainer), 1.0)
        if isinstance(error, SIGTERMException):
            said, code = "stopped by SIGTERM", 143
        elif isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            said, code = "interrupted", 130  # Lightning made an exit of it
        elif isinstance(error, Diverged):
            raise _diverged(job, error) from None
        elif lost and isinstance(error, RuntimeError):
            raise TrainError("RANK", f"{lost}.", f"See what it said above; {again}.") from None
        else:
            raise
        print(f"{said} in epoch {trainer.current_epoch + 1}; {again}", file=sys.stderr)
        raise SystemExit(code) from None
    distributed.end_ranks(_children(trainer), 60.0)


def _children(trainer: pl.Trainer) -> Any:
    """The ranks that this process started."""
    return getattr(trainer.strategy.launcher, "procs", [])


def _diverged(job: Job, found: Diverged) -> TrainError:
    """The error for a loss that is not finite: the step, its learning rate, and the series it saw."""
    rate = f"at learning rate {found.rate:.3g}"
    fix = "Lower `learning_rate` in conf/trainer/"
    if found.validation:
        what = f"the validation loss after {found.step} steps is {found.loss} ({rate})."
        return TrainError("DIVERGED", what, f"{fix}.")
    epoch, step = divmod(found.step, job.fit.steps_per_epoch)
    drawn = TrainingWindows(job.panel, job.spec, job.fit.batch_size, job.seed).draw(epoch, step)
    ids = [str(job.panel.ids[i]) for i in dict.fromkeys(drawn.series.tolist())]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    series = f"{', '.join(map(repr, ids[:_NAMED]))}{more}"
    what = f"the loss of step {found.step} (epoch {epoch + 1}) is {found.loss} {rate}; its batch holds {series}."
    return TrainError(
        "DIVERGED",
        what,
        f"{fix}, or look for absurd values in these series (gatecast ingest check=true).",
    )
