"""What a trainer recipe says: how long, how fast, on what."""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("32-true", "bf16-mixed", "64-true")


@dataclass
class Fit:
    """A trainer recipe: how long, how fast, on what. ``batch_size`` is global: devices share it."""

    accelerator: str = "auto"
    devices: int = (
        1  # of this machine, one process each; -1: every GPU (torchrun decides otherwise)
    )
    precision: str = "32-true"  # 32-true | bf16-mixed | 64-true
    max_epochs: int = 20
    steps_per_epoch: int = 150
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    averaging: float = 0.995  # decay of the weight average that is validated and shipped
    patience: int = 5  # epochs without a better validation loss before stopping
    max_validation_windows: int = 2048
    log_every: int = 50  # steps between two looks at the losses
    threads: int | None = None  # null: the cores this process may use, shared by its ranks
