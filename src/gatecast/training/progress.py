"""Progress of a training: one line per epoch, and on a terminal a bar with the rate and the time left."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from gatecast.core import terminal


class Progress(pl.Callback):
    """One line per epoch, for logs and for `dvc repro` in a pipe; the bar counts optimizer steps.

    Args:
        label: at the start of every line, where several trainings print at the same time; without a bar then.
    """

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._bar = terminal.bar(0, "step", hidden=True)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self._start = time.perf_counter()
        self._first = trainer.current_epoch
        total = (trainer.max_epochs or 0) * module.settings.steps_per_epoch
        self._bar = terminal.bar(
            total, "step", start=trainer.global_step, keep=False, hidden=bool(self._label)
        )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        seconds = time.perf_counter() - self._start
        left = seconds / (done - self._first) * (total - done)
        metrics = "  ".join(
            f"{k} {float(trainer.callback_metrics[k]):.4f}"
            for k in ("train_loss", "val_loss")
            if k in trainer.callback_metrics
        )
        self._bar.clear()
        print(
            f"  {self._label}epoch {done}/{total}  {metrics}  {seconds:.0f} s, at most {left:.0f} s left",
            flush=True,
        )

    def on_train_end(self, *_: Any) -> None:
        self._bar.close()

    def on_exception(self, *_: Any) -> None:
        self._bar.close()
