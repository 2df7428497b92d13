"""Checkpoints that are whole or absent, and the error of a full disk."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from gatecast.core import atomic
from gatecast.core.errors import TrainError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says what to do.

    Raises:
        TrainError: DISK.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainError(
            "DISK",
            f"{path} cannot be written: {error.strerror}.",
            "Free space on this disk (old experiments: dvc gc -w; data/scoring/; mlartifacts/), then run the "
            "same command again: it continues from the last epoch that was saved.",
        ) from None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs and renames; Lightning's own copies from the system's temporary folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace the checkpoint at ``path``, or leave it as it was.

        Raises:
            TrainError: DISK if there is no space.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with disk_errors(Path(path)), atomic.file(Path(path)) as handle:
            handle.write(content.getbuffer())


def readable(path: Path) -> bool:
    """Whether a checkpoint exists and is whole (every tensor's checksum is right)."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what torch's readers raise: OSError, RuntimeError, EOFError, KeyError …
        return False
    return True
