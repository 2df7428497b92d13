"""What a training prints: the net and its parameters, one line per epoch, and a bar on a terminal."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch

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


class Summary(pl.Callback):
    """The layers of the net that is trained, and their parameters; the average of its weights is the same net again."""

    def on_fit_start(self, _: pl.Trainer, module: Any) -> None:
        net = module.net
        parts = {"encoder": net.encoder, "decoder": net.decoder}
        counts = {name: _parameters(part) for name, part in parts.items()}
        whole = _parameters(net)
        counts["others"] = whole - sum(counts.values())
        for name, count in counts.items():
            print(f"  {name:8s} {count:>12,} parameters")
        print(f"  {'net':8s} {whole:>12,} parameters, {4 * whole / 1e6:,.1f} MB", flush=True)


def _parameters(part: torch.nn.Module) -> int:
    """What its package has, each tensor once, however many layers share it."""
    tensors = {id(t): t.numel() for t in part.state_dict(keep_vars=True).values()}
    return sum(tensors.values())
