"""What a source can do."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import pandas as pd

from gatecast.data.config import SourceRecipe


class Source(Protocol):
    """A raw feed, as a recipe describes it.

    Args:
        feed: the recipe, of the schema ``recipe``.
    """

    recipe: ClassVar[type[SourceRecipe]]

    def __init__(self, feed: Any) -> None: ...

    def read(self, as_of: str | None = None) -> pd.DataFrame:
        """Read the whole raw feed. Values are not judged here, only whether they can be read.

        Args:
            as_of: sources that generate their feed end it here; others are cut later, by the contract.

        Returns:
            Long table: ``unique_id`` (str), ``ds`` (text or datetime), ``y``, the covariates, ``file``, ``line``; and
            ``known_at`` (text or datetime) where the recipe names its column.

        Raises:
            IngestError: with a code, the file, and the way out.
        """
        ...

    def read_actuals(self) -> pd.DataFrame | None:
        """Values that came after the feed's end, in the same shape; None if there are none."""
        ...

    def fingerprint(self) -> list[dict[str, Any]]:
        """One entry per file (or its like): whatever changes when its content does. Reads no rows."""
        ...

    def unseen(self) -> list[str]:
        """Addresses of what may change without DVC seeing it: outside ``data/raw``, and without a declared hash."""
        ...
