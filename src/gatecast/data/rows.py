"""Raw rows on their way through the checks: the file and line of each, and what becomes of a bad one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data.config import Feed

KEY = ["unique_id", "ds"]


@dataclass
class Rows:
    """A raw table (as from :func:`gatecast.data.sources.read`), and the rows taken out of it so far."""

    table: pd.DataFrame
    feed: Feed
    quarantined: list[pd.DataFrame] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)

    def where(self, position: int) -> str:
        """File and line of a row, for a message."""
        row = self.table.iloc[position]
        return f"{row['file']} line {row['line']}"

    def reject(
        self,
        bad: np.ndarray,
        code: str,
        what: Callable[[pd.Series], str],
        fix: str,
        always: bool = False,
    ) -> None:
        """Raise for the first bad row, or set all of them aside unchanged if the recipe says so.

        Args:
            bad: (rows,) bool.
            code: of the error.
            what: says what is wrong with a row.
            fix: what to do about it.
            always: set aside whatever the recipe says.

        Raises:
            IngestError: ``code``, or EMPTY-FEED if no row is left.
        """
        if not bad.any():
            return
        first = int(np.flatnonzero(bad)[0])
        count = int(bad.sum())
        if self.feed.bad_rows == "error" and not always:
            more = f" ({count:,} such rows in all)" if count > 1 else ""
            raise IngestError(
                code,
                f"{self.where(first)}: {what(self.table.iloc[first])}{more}.",
                f"{fix} Or set `bad_rows: quarantine` to set such rows aside.",
            )
        aside = self.table[bad]
        reasons = [what(row) for _, row in aside.iterrows()]
        self.quarantined.append(
            aside.astype("str").assign(line=aside["line"], code=code, reason=reasons)
        )
        self.table = self.table[~bad].reset_index(drop=True)
        if self.table.empty:
            raise IngestError(
                "EMPTY-FEED",
                f"source '{self.feed.name}': no usable row is left; the last {count:,} were bad: {reasons[0]}.",
                fix or "Check `target`, `na_values` and `as_of`.",
            )
