"""A source recipe drafted from a file's first rows, with the reason for each guess.

    drafted = draft("sales", "sales.csv", {"target": "units"})
    drafted.text       # conf/source/sales.yaml, ready for ``gatecast ingest source=sales check=true``
    drafted.remarks    # what was guessed, for the terminal

What the user has said is not guessed. What cannot be told from the rows is an error that says how to say it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from lzma import LZMAError
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from gatecast.core.errors import IngestError, did_you_mean
from gatecast.core.schema import COMMAND_LINE, read
from gatecast.data import calendar, sources, stamps
from gatecast.data.config import FileFeed
from gatecast.data.sources import files
from gatecast.data.sources.locate import Located, in_raw, locate, open_raw
from gatecast.drafting import columns
from gatecast.drafting.roles import Roles, roles

ROWS = 100_000
_SHARES = {"validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Draft:
    """A recipe that was drafted.

    Attributes:
        text: of the recipe.
        remarks: what was guessed and why, one line each.
        rows: that were read.
    """

    text: str
    remarks: list[str]
    rows: int


@dataclass
class _Recipe:
    """Settings in the order in which they are written, with the reason for each; and remarks that concern none."""

    said: Mapping[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def set(self, key: str, value: Any, reason: str) -> None:
        """Add a setting; what the user has said needs no reason."""
        self.settings[key] = value
        if key.split(".")[-1] not in self.said:
            self.reasons[key] = reason


def draft(name: str, path: str, said: Mapping[str, Any]) -> Draft:
    """Draft the recipe of a file.

    Args:
        name: of the source.
        path: of the file, as a recipe names it.
        said: settings that are not to be guessed, by their keys in a recipe (``static`` for ``covariates.static``).

    Raises:
        IngestError: FILE-MISSING, EMPTY-FILE, FILE-READ and the like; COLUMN-MISSING if the user names one that is not
            there; DRAFT-TIME, DRAFT-ID, DRAFT-TARGET, DRAFT-FREQUENCY if that cannot be told from the rows.
        ConfigError: if the name or what the user has said cannot be in a recipe.
    """
    any_time = {"time": [""], "rows": ROWS, "task": {"horizon": 1}}
    feed = read(FileFeed, {"name": name, "files": [{"path": path}], **any_time}, COMMAND_LINE)
    located = locate(feed.files[0])[0]
    separator = "," if located.is_parquet else _separator(located)
    feed = feed.model_copy(update={"separator": separator})
    cells, _ = files.read_table(located, feed, as_text=True)
    cells = cells.rename(columns=str)
    cells = cells.mask(cells.isin(files.NA))
    _require_columns(cells, said, located.name)
    recipe = _Recipe(said)
    _draft(recipe, cells, separator)
    text = _text(name, path, recipe, len(cells))
    _validate(text, name)
    guesses = {f"{key}: {_yaml(recipe.settings[key])}": why for key, why in recipe.reasons.items()}
    width = min(40, max(map(len, guesses), default=0))
    remarks = [f"{guess:<{width}s}  {why}" for guess, why in guesses.items()]
    if not in_raw(located.address):
        remarks.append(
            f"{located.name} lies outside data/raw, where `dvc repro` does not see it change: move it there, or add"
            f" `{name}` to `watch` in params.yaml"
        )
    return Draft(text, [*remarks, *recipe.remarks], len(cells))


def _draft(recipe: _Recipe, cells: pd.DataFrame, separator: str) -> None:
    said = recipe.said
    if separator != ",":
        recipe.set("separator", separator, "stands between the names of the first line")
    decimal = columns.decimal_of(cells)
    if decimal != ".":
        recipe.set("decimal", decimal, "numbers are written with it")
    when = columns.times(cells, said.get("time"), said.get("time_format"))
    _zone(recipe, when, cells)
    known = _series(recipe, cells, when, decimal)
    series = known.series
    if known.marks:
        recipe.set("na_values", known.marks, "texts among numbers: taken for missing")
    times = _stamps_of_longest(when, cells[series] if series else None)
    _frequency(recipe, times)
    _task(recipe, known.ahead, len(times))


def _zone(recipe: _Recipe, when: columns.Times, cells: pd.DataFrame) -> None:
    example = cells[when.columns].dropna().iloc[0].astype("str")
    recipe.set("time", when.columns, f"time stamps, such as {' '.join(example)}")
    if when.time_format:
        turned = "; day and month could be the other way round" if when.turned else ""
        recipe.set("time_format", when.time_format, f"reads every stamp{turned}")
    zone = when.values.dt.tz
    if recipe.said.get("timezone"):
        recipe.set("timezone", recipe.said["timezone"], "")
    elif zone is not None and len(when.columns) == 1 and not _is_text(cells[when.columns[0]]):
        recipe.set("timezone", str(zone), "the zone of the stamps in the file")
    elif zone is not None:
        recipe.remarks.append(
            "the stamps carry offsets: they are stored as UTC; say timezone=Europe/Berlin (yours) to get forecasts"
            " in local time"
        )


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_datetime64_any_dtype(column)


def _series(recipe: _Recipe, cells: pd.DataFrame, when: columns.Times, decimal: str) -> Roles:
    """Say which layout the file has and what its columns are."""
    said = recipe.said
    known = roles(cells, when, said, decimal)
    if known.wide:
        n = len(cells.columns) - len(when.columns)
        recipe.set("layout", "wide", f"{n:,} columns of numbers beside the time: a series each")
        return known
    recipe.set("id", known.series, known.reasons["id"])
    recipe.set("target", known.target, known.reasons["target"])
    for role in ("static", "past", "future"):
        if names := known.columns[role]:
            recipe.set(f"covariates.{role}", names, known.reasons[role])
    if known.columns["categorical"]:
        recipe.set("covariates.categorical", known.columns["categorical"], "names, not numbers")
    recipe.remarks += [f"not used: {name} ({why})" for name, why in known.unused.items()]
    return known


def _stamps_of_longest(when: columns.Times, ids: pd.Series | None) -> pd.DatetimeIndex:
    """The stamps of the series that has most rows, sorted, each once."""
    values = when.values
    if ids is not None:
        values = values[ids == ids.value_counts().index[0]]
    found = pd.DatetimeIndex(values.dropna().unique()).sort_values()
    return found if found.tz is None else found.tz_convert("UTC").tz_localize(None)


def _frequency(recipe: _Recipe, times: pd.DatetimeIndex) -> None:
    guess = recipe.said.get("frequency") or stamps.infer_frequency(times) or _usual_step(times)
    if guess is None:
        raise IngestError(
            "DRAFT-FREQUENCY",
            f"the stamps of the longest series are not regular: {', '.join(map(str, times[:4]))} …",
            "Say what lies between two of them: frequency=h.",
        )
    recipe.set("frequency", guess, "the usual step between two stamps of the longest series")


def _usual_step(times: pd.DatetimeIndex) -> str | None:
    """The step between most of the stamps, where some are missing; None if there is none."""
    if len(times) < 3:
        return None
    month, is_end = f"{times[0]:%b}".upper(), bool(times.is_month_end.all())
    if is_end or (times.day == 1).all():
        months = pd.Series(times.year * 12 + times.month).diff()
        at = "E" if is_end else "S"
        usual = {1: f"M{at}", 3: f"Q{at}-{month}", 12: f"Y{at}-{month}"}
        if months.min() >= 1 and (name := usual.get(int(months.mode()[0]))):
            return name
    steps = times.to_series().diff()
    step = steps.mode()[0]
    if (steps == step).sum() < 0.5 * (len(times) - 1):
        return None
    days = step // pd.Timedelta(days=1)
    if step % pd.Timedelta(days=1):
        return str(pd.tseries.frequencies.to_offset(step).freqstr)
    if days == 7:
        return f"W-{times[0]:%a}".upper()
    if days == 1:
        return "B" if (times.dayofweek < 5).all() else "D"
    return f"{days}D"


def _task(recipe: _Recipe, ahead: int, length: int) -> None:
    """How far to forecast: as far as covariates are known ahead, else a season, if the series are long enough."""
    most = max(1, length // 20)
    season = calendar.usual_season(recipe.settings["frequency"])
    guess, why = min(season if season > 1 else 4, most), "one season, at most 1/20 of a series"
    if 0 < ahead <= most:
        guess, why = ahead, "rows that are known ahead"
    recipe.set("task.horizon", recipe.said.get("horizon") or guess, f"steps to forecast: {why}")
    known = length - ahead
    if known < 3 * season:
        # shares of the span are rounded to whole seasons, of which too few are left here
        least = recipe.settings["task.horizon"]
        steps = {name: max(least, int(part * known)) for name, part in _SHARES.items()}
        recipe.set("task.splits", steps, "steps, since the series have less than three seasons")


def _require_columns(cells: pd.DataFrame, said: Mapping[str, Any], name: str) -> None:
    named = [said.get("id"), said.get("target")]
    for key in ("time", "static", "past", "future"):
        named += said.get(key) or []
    missing = [column for column in named if column is not None and column not in cells]
    if missing:
        raise IngestError(
            "COLUMN-MISSING",
            f"{name} has no column '{missing[0]}'.{did_you_mean(missing[0], cells.columns)}",
            f"Its columns: {', '.join(cells.columns[:20])}.",
        )


def _separator(located: Located) -> str:
    """What the first line has most of; whether the file can be read is for the reader of tables to say."""
    try:
        with open_raw(located.address, decompress=True) as handle:
            first = handle.readline(1 << 20).decode("utf-8", "replace")
    except (OSError, EOFError, BadZipFile, LZMAError, zlib.error):
        return ","
    return max(",;\t|", key=first.count)


def _validate(text: str, name: str) -> None:
    import yaml

    sources.read_feed(
        yaml.safe_load(text) | {"name": name}, f"the draft of conf/source/{name}.yaml"
    )


def _text(name: str, path: str, recipe: _Recipe, rows: int) -> str:
    """The recipe as YAML; a comment beside each guess."""
    lines = [
        "# @package feed",
        f"# Drafted by `gatecast new {name}` from the first {rows:,} rows of {path}: check what is marked as a guess.",
        "# All settings there are, and what they mean: conf/source/files.yaml",
        *(f"# {remark}" for remark in recipe.remarks),
        "files:",
        f"  - path: {_yaml(path)}",
    ]
    section = ""
    for key, value in recipe.settings.items():
        *above, last = key.split(".")
        if above and above[0] != section:
            section = above[0]
            lines.append(f"{section}:")
        line = f"{'  ' * len(above)}{last}: {_yaml(value)}"
        why = recipe.reasons.get(key)
        lines.append(f"{line:<22s}  # guess: {why}" if why else line)
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6
    )
    return str(text).removesuffix("...\n").strip()
