"""The roles of the columns of a raw table: series, target, covariates; guessed, unless the user has said them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data.sources.files import RESERVED
from gatecast.drafting import columns
from gatecast.drafting.columns import Numbers, Times

_NAMES = 100  # different names that a categorical column may have
_SAID = ("id", "target", "static", "past", "future")


@dataclass
class Roles:
    """What the columns are.

    Attributes:
        wide: one column per series; nothing else is set then.
        series: column of the series id, or None.
        target: column of the values.
        columns: of each role: ``static``, ``past``, ``future``; and ``categorical``.
        unused: column to the reason why it is left out.
        reasons: role to the reason for the guess.
        marks: texts in the used columns that mean "missing".
        ahead: rows of a series after its last value, 0: none.
    """

    wide: bool
    series: str | None
    target: str
    columns: dict[str, list[str]]
    unused: dict[str, str]
    reasons: dict[str, str]
    marks: list[str]
    ahead: int = 0


def roles(cells: pd.DataFrame, when: Times, said: Mapping[str, Any], decimal: str) -> Roles:
    """Guess the roles of all columns.

    Args:
        cells: the table; empty cells are missing.
        when: its time.
        said: roles that the user has named.
        decimal: sign of the numbers.

    Raises:
        IngestError: DRAFT-ID, DRAFT-TARGET.
    """
    rest = [c for c in cells if c not in when.columns]
    found = {c: columns.numbers(cells[c], decimal) for c in rest}
    numeric = {c: n for c, n in found.items() if n is not None}
    if _is_wide(cells, when, said, rest, numeric):
        marks = {mark for n in numeric.values() for mark in n.marks}
        return Roles(True, None, "", {}, {}, {}, sorted(marks))
    series = _series(cells, when, said, rest)
    ids = cells[series] if series else pd.Series("", index=cells.index)
    table = _Table(cells, when.values, ids, numeric, said)
    others = [c for c in rest if c != series]
    target, reasons = _target(table, others)
    count = (
        f"{ids.nunique():,} series in these rows" if series else "one series: no time comes twice"
    )
    out = Roles(
        wide=False,
        series=series,
        target=target,
        columns={"static": [], "past": [], "future": [], "categorical": []},
        unused={},
        reasons={
            "id": count,
            "target": reasons,
            "static": "constant within each series",
            "past": "taken as known up to now; move to `future` what you know ahead",
            "future": "has values in rows after the last target",
        },
        marks=[],
    )
    late = table.after_last(target)
    out.ahead = int(ids[late].value_counts().median()) if late.any() else 0
    for column in others:
        if column != target:
            table.place(column, out, late)
    used = [target, *out.columns["past"], *out.columns["future"], *out.columns["static"]]
    out.marks = sorted({mark for c in used if c in numeric for mark in numeric[c].marks})
    return out


def _is_wide(
    cells: pd.DataFrame,
    when: Times,
    said: Mapping[str, Any],
    rest: list[str],
    numeric: Mapping[str, Numbers],
) -> bool:
    if "layout" in said:
        return bool(said["layout"] == "wide")
    if any(key in said for key in _SAID) or len(rest) < 2 or len(numeric) < len(rest):
        return False
    single = not cells.assign(**{"": when.values}).drop_duplicates()[""].duplicated().any()
    plain = not any(n.counts_rows for n in numeric.values())
    return single and plain and not columns.by_name(rest, columns.TARGET)


def _series(
    cells: pd.DataFrame, when: Times, said: Mapping[str, Any], rest: list[str]
) -> str | None:
    if "id" in said:
        return said["id"]
    named = [
        said.get("target"),
        *(c for key in ("static", "past", "future") for c in said.get(key) or []),
    ]
    return columns.series_column(cells[rest], when.values, [c for c in named if c])


@dataclass
class _Table:
    cells: pd.DataFrame
    when: pd.Series
    ids: pd.Series
    numeric: dict[str, Numbers]
    said: Mapping[str, Any]

    def after_last(self, target: str) -> np.ndarray:
        """(rows,) bool: rows that come after the last value of their series."""
        known = self.values(target).notna()
        last = self.when.where(known).groupby(self.ids).transform("max")
        return (self.when > last).to_numpy()

    def values(self, column: str) -> pd.Series:
        return self.numeric[column].values if column in self.numeric else self.cells[column]

    def most_different(self, column: str) -> int:
        """Different values of a column within one series, at most."""
        return int(self.values(column).groupby(self.ids).nunique().max())

    def place(self, column: str, out: Roles, late: np.ndarray) -> None:
        """Give a column its role, or the reason why it has none."""
        role = next(
            (r for r in ("static", "past", "future") if column in (self.said.get(r) or [])), ""
        )
        name = self._is_name(column)
        if not role:
            if why := self._no_use(column, name):
                out.unused[column] = why
                return
            role = self._guess(column, late)
            if role in self.said:
                out.unused[column] = f"not among the columns that you named as {role}"
                return
        out.columns[role].append(column)
        if name:
            out.columns["categorical"].append(column)

    def _guess(self, column: str, late: np.ndarray) -> str:
        if self.most_different(column) <= 1:
            return "static"
        ahead = late.any() and self.cells.loc[late, column].notna().mean() > 0.5
        return "future" if ahead and "future" not in self.said else "past"

    def _is_name(self, column: str) -> bool:
        return column not in self.numeric

    def _no_use(self, column: str, name: bool) -> str:
        values = self.cells[column].dropna()
        n_series = self.ids.nunique()
        if column in RESERVED:
            return "gatecast uses this name itself: rename the column"
        if values.empty:
            return "empty"
        if not name and self.numeric[column].counts_rows:
            return "a number of the row"
        if values.nunique() == 1:
            return "the same in every row"
        if name and columns.all_times(self.cells[[column]]):
            return "it holds times, too; `known_at` if it says when a row became known"
        if name and self.most_different(column) <= 1 and values.nunique() >= n_series:
            return "another name of each series"
        if name and values.nunique() > _NAMES:
            return f"{values.nunique():,} different texts"
        return ""


def _target(table: _Table, others: list[str]) -> tuple[str, str]:
    """The column to forecast, and why."""
    if said := table.said.get("target"):
        return said, ""
    taken = {c for role in ("static", "past", "future") for c in table.said.get(role) or []}
    varying = [
        c
        for c in others
        if c in table.numeric
        and c not in taken
        and not table.numeric[c].counts_rows
        and table.most_different(c) > 1
    ]
    if not varying:
        raise IngestError(
            "DRAFT-TARGET",
            "no column of numbers is left that varies within a series.",
            "Name the values to forecast: target=sales.",
        )
    named = columns.by_name(varying, columns.TARGET)
    if len(varying) == 1:
        return varying[0], "the only numbers that vary within a series"
    # where some columns go on for longer, the target is among those that end first
    lasts = {c: table.when[table.numeric[c].values.notna()].max() for c in varying}
    first = min(lasts.values())
    ended = [c for c in varying if lasts[c] == first]
    if first < max(lasts.values()) and len(ended) == 1:
        return ended[0], "its values end while those of other columns go on"
    if within := [c for c in named if c in ended] or named:
        return within[0], "by its name"
    return (
        ended[0],
        f"the first of several columns of numbers ({', '.join(varying[:6])}): say target=… if it is another",
    )
