"""Which packages the belt compares: ``data/digests/<variant>.txt`` holds the digest of each.

The stages after training depend on this folder, not on ``models/``: variants that are trained by hand lie there, too.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from gatecast.core import atomic

FOLDER = Path("data/digests")


def note(variant: str, digest: str) -> None:
    """Note the package of a variant."""
    atomic.write_text(FOLDER / f"{variant}.txt", f"{digest}\n")


def keep_only(variants: Collection[str]) -> None:
    """Inside a stage of DVC, remove the notes of variants that have left the list: a clone does not have them."""
    if "DVC_STAGE" not in os.environ:
        return
    for path in FOLDER.glob("*.txt"):
        if path.stem not in variants:
            path.unlink()
