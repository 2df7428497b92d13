"""The Lightning module: loss at every origin, weight averaging, cosine learning rate.

Lightning hands it a *block* of steps at a time (``log_every`` of them) and it runs their optimizer steps itself
(manual optimization), so that hooks, loggers and the look at the losses cost once a block, not once a step. The step
itself never waits for the device.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from gatecast.core.errors import TrainError
from gatecast.models.config import Recurrent
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec
from gatecast.training.config import Fit
from gatecast.training.distributed import Ranks

_WARMUP = 50


class Diverged(Exception):
    """A loss is not finite.

    Args:
        step: the first such training step, or the number of steps before a validation.
        rate: learning rate of that step.
        loss: nan or inf.
        validation: whether it is the validation loss.
    """

    def __init__(self, step: int, rate: float, loss: float, validation: bool = False) -> None:
        super().__init__(step, rate, loss, validation)
        self.step, self.rate, self.loss, self.validation = step, rate, loss, validation


class ForecasterModule(pl.LightningModule):
    """Trains ``net``; ``average`` is the running mean of its weights, which is validated and shipped.

    Every rank has its part of each batch. Losses are divided by the number of known targets on *all* ranks, so that
    many processes take the steps that one would take.

    Args:
        model: the recipe.
        spec: sizes of the net.
        fit: the trainer recipe.
        seed: of dropout, with epoch and rank.
        ranks: which process this is.
    """

    def __init__(
        self, model: Recurrent, spec: InputSpec, fit: Fit, seed: int, ranks: Ranks | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = RecurrentForecaster(model, spec)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.settings, self.seed, self.ranks = fit, seed, ranks or Ranks()
        self.asked_to_stop = False

    def rate(self, step: int) -> float:
        """The learning rate of a step: a short warm-up, then half a cosine."""
        total = self.settings.max_epochs * self.settings.steps_per_epoch
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))) + 0.01
        return self.settings.learning_rate * min(1.0, (step + 1) / _WARMUP) * cosine

    def configure_optimizers(self) -> torch.optim.Optimizer:
        f = self.settings
        return torch.optim.AdamW(
            self.net.parameters(), f.learning_rate, weight_decay=f.weight_decay, fused=True
        )

    def on_train_start(self) -> None:
        self._weights: list[Tensor] = [*self.net.parameters()]
        self._averages: list[Tensor] = [*self.average.parameters()]
        if threading.current_thread() is threading.main_thread():
            # Lightning's handler starts a collective at once, which meets others of other ranks
            signal.signal(signal.SIGTERM, self._ask_to_stop)

    def _ask_to_stop(self, *_: Any) -> None:
        self.asked_to_stop = True

    def on_train_epoch_start(self) -> None:
        # dropout is the same after a resume, and another on every rank
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch + (self.ranks.rank << 32))
        self._training = torch.zeros(2, device=self.device)  # loss, known targets: of all ranks

    def training_step(self, block: Iterable[Batch], _: int) -> None:
        """Take the steps of a block, then look at their losses.

        Raises:
            Diverged: on every rank, if the loss of a step is not finite.
            SIGTERMException: on every rank, if any was asked to stop.
        """
        asked = torch.tensor(float(self.asked_to_stop), device=self.device)
        if self._summed(asked) > 0:
            raise SIGTERMException
        first = self.global_step
        parts = [self._step(step, batch) for step, batch in enumerate(block, first)]
        losses, counts = (torch.stack(part) for part in zip(*parts, strict=True))
        self._look(first, self._summed(losses), counts)

    def _step(self, step: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """One optimizer step: this rank's loss, and the number of known targets on all ranks."""
        optimizer: Any = self.optimizers()
        optimizer.param_groups[0]["lr"] = self.rate(step)
        loss, count = self.net.loss(batch)
        count = self._summed(count)
        optimizer.zero_grad()
        # distributed training averages gradients over ranks: times their number is the sum
        share = loss * (self.ranks.world / count.clamp_min(1))
        self.trainer.strategy.pre_backward(share)  # `manual_backward` without its empty hooks
        share.backward()
        self._clip()
        optimizer.step()
        decay = min(self.settings.averaging, (step + 2) / (step + 21))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        return loss.detach(), count

    def _clip(self) -> None:
        """Scale the gradients down to the largest norm allowed; as ``clip_grad_norm_``, in half its time."""
        if self.settings.gradient_clip > 0:
            gradients = [w.grad for w in self._weights if w.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            scale = (self.settings.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, scale)

    def _look(self, first: int, losses: Tensor, counts: Tensor) -> None:
        """Check and log the losses of the steps from ``first`` on; the only wait for the device in a block."""
        total = torch.stack([losses.sum(), counts.sum()])
        self._training += total
        means = (losses / counts.clamp_min(1)).tolist()
        for step, loss in enumerate(means, first):
            if not math.isfinite(loss):
                raise Diverged(step, self.rate(step), loss)
        if self.logger is not None:
            done = first + len(means)
            mean = (total[0] / total[1].clamp_min(1)).item()
            numbers = {"train_loss": mean, "learning_rate": self.rate(done - 1)}
            self.logger.log_metrics(numbers, done)

    def on_validation_epoch_start(self) -> None:
        self.average.eval()

    def validation_step(self, batches: Iterable[Batch], _: int) -> None:
        self._validation = torch.zeros(2, device=self.device)
        # earlier origins lie in the training span
        for batch in batches:
            self._validation += torch.stack(self.average.loss(batch, 1))

    def on_validation_epoch_end(self) -> None:
        """Validation ends every epoch: the epoch's numbers are logged together.

        Raises:
            TrainError: NO-WINDOW if nothing could be scored.
            Diverged: on every rank, if the validation loss is not finite.
        """
        sums = {"training": self._training, "validation": self._summed(self._validation)}
        for span, (_, count) in sums.items():
            if count == 0:
                raise TrainError(
                    "NO-WINDOW",
                    f"no {span} window has a known value both before and after its origin.",
                    "Gaps are longer than the look-back: choose a longer `context_length` in conf/model/,"
                    " or bring more data.",
                )
        training, validation = ((loss / count).item() for loss, count in sums.values())
        if not math.isfinite(validation):
            raise Diverged(
                self.global_step, self.rate(self.global_step - 1), validation, validation=True
            )
        self.log_dict({"train_loss": training, "val_loss": validation}, logger=False)
        if self.logger is not None:
            self.logger.log_metrics(
                {"val_loss": validation, "epoch": self.current_epoch}, self.global_step
            )

    def _summed(self, x: Tensor) -> Tensor:
        """The sum over all ranks."""
        if self.ranks.world > 1:
            dist.all_reduce(x)
        return x
