"""What watches a trial: its score after every epoch, and whether it is worth going on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn


class Watch(pl.Callback):
    """Scores the averaged net after every epoch, in units that all recipes share, and prunes by it.

    Args:
        trial: whose epochs they are.
        score: of a net.
        name: of the score, for MLflow.

    Attributes:
        last: the newest score; NaN before the first.
        epoch: of that score, from 0.
    """

    def __init__(self, trial: optuna.Trial, score: Callable[[nn.Module], float], name: str) -> None:
        self.trial = trial
        self.score = score
        self.name = name
        self.last = math.nan
        self.epoch = 0

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Raise TrialPruned where the trial is worse than the median of the others at this epoch.

        Raises:
            SIGTERMException: also if it came after the last step, or the next trial would begin.
        """
        if module.asked_to_stop:
            raise SIGTERMException
        self.epoch = trainer.current_epoch
        self.last = self.score(copy.deepcopy(module.average).float().cpu())
        self.trial.report(self.last, self.epoch)
        if module.logger is not None:
            module.logger.log_metrics({f"{self.name}_by_epoch": self.last}, trainer.global_step)
        ahead = self.epoch + 1 < (trainer.max_epochs or 0)
        spared = "base" in self.trial.user_attrs  # what the others are measured by
        if ahead and not spared and self.trial.should_prune():
            raise optuna.TrialPruned
