"""What a trainer recipe says: how long, how fast, on what."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gatecast.core.schema import Schema, require


class Fit(Schema):
    """A trainer recipe: how long, how fast, on what."""

    accelerator: str = "auto"
    """What it runs on, as Lightning names it: auto, cpu, gpu, …"""

    devices: int = 1
    """Devices of this machine, one process each; -1: every GPU (torchrun decides otherwise)."""

    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    """Of the arithmetic, as Lightning names it."""

    max_epochs: int = Field(default=20, ge=1)
    """Epochs at most."""

    steps_per_epoch: int = Field(default=150, ge=1)
    """Batches between two validations."""

    batch_size: int = Field(default=32, ge=1)
    """Sequences in a batch; devices share it."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Largest learning rate."""

    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""

    gradient_clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0: off."""

    averaging: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the weight average that is validated and shipped."""

    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation loss before training stops."""

    max_validation_windows: int = Field(default=2048, ge=1)
    """Windows of the validation span that are looked at, at most."""

    log_every: int = Field(default=50, ge=1)
    """Steps between two looks at the losses."""

    threads: int | None = Field(default=None, ge=1)
    """Null: the cores this process may use, shared by its ranks."""

    @field_validator("devices")
    @classmethod
    def _some(cls, devices: int) -> int:
        require(devices >= 1 or devices == -1, "", devices, "1 or more, or -1 (all)")
        return devices

    @model_validator(mode="after")
    def _share(self) -> Self:
        rule = f"at most `batch_size` ({self.batch_size}): devices share a batch"
        require(self.devices <= self.batch_size, "devices", self.devices, rule)
        return self
