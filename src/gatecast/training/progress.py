"""Progress of a training run: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar


class EpochLines(pl.Callback):
    """One line an epoch, for logs and `dvc repro` in a pipe."""

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._start, self._first = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        seconds = time.perf_counter() - self._start
        left = seconds / (done - self._first) * (total - done)
        metrics = "  ".join(
            f"{k} {float(trainer.callback_metrics[k]):.4f}"
            for k in ("train_loss", "val_loss")
            if k in trainer.callback_metrics
        )
        print(
            f"  epoch {done}/{total}  {metrics}  {seconds:.0f} s, at most {left:.0f} s left",
            flush=True,
        )


def progress_callback() -> pl.Callback:
    """What fits where standard error goes."""
    return TQDMProgressBar(refresh_rate=5) if sys.stderr.isatty() else EpochLines()
