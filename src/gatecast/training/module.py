"""The Lightning module: loss at every fork, weight averaging, cosine learning rate."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from gatecast.config import Fit, Model
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec

_WARMUP = 50


class ForecasterModule(pl.LightningModule):
    """Trains ``net``; ``average`` is the running mean of its weights, which is validated and shipped.

    Losses are summed on the device and logged once an epoch, so that the inner loop never waits for a logger.
    """

    def __init__(self, model: Model, spec: InputSpec, fit: Fit, seed: int) -> None:
        super().__init__()
        self.net = RecurrentForecaster(model, spec)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.settings, self.seed = fit, seed
        self._sums = (
            torch.zeros(2),
            torch.zeros(2),
        )  # training, validation: loss and number of targets

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(
            self.seed * 1_000_003 + self.current_epoch
        )  # dropout is the same after a resume
        self._sums = torch.zeros(2, device=self.device), self._sums[1]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss, count = self.net.loss(batch)
        self._sums[0].add_(torch.stack([loss.detach(), count]))
        return loss / count.clamp_min(1)

    def on_train_batch_end(self, *_: Any) -> None:
        step = self.global_step
        decay = min(self.settings.averaging, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - decay
            )

    def on_validation_epoch_start(self) -> None:
        self._sums = self._sums[0], torch.zeros(2, device=self.device)
        self.average.eval()

    def validation_step(self, batch: Batch, _: int) -> None:
        loss, count = self.average.loss(batch, 1)  # earlier forks lie in the training span
        self._sums[1].add_(torch.stack([loss, count]))

    def on_validation_epoch_end(self) -> None:
        """Validation ends every epoch: the epoch's numbers are logged together."""
        for name, (loss, count) in zip(("train_loss", "val_loss"), self._sums, strict=True):
            self.log(name, loss / count.clamp_min(1), prog_bar=True)
        self.log("learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def configure_optimizers(self) -> Any:
        f = self.settings
        optimizer = torch.optim.AdamW(
            self.net.parameters(), f.learning_rate, weight_decay=f.weight_decay
        )
        total = f.max_epochs * f.steps_per_epoch

        def rate(step: int) -> float:
            return min(1.0, (step + 1) / _WARMUP) * (
                0.5 * (1 + math.cos(math.pi * min(1.0, step / total))) + 0.01
            )

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
