"""What a source recipe says: where a feed lies, how to read it, what its columns mean, what is forecast from it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gatecast.core.schema import Schema, Text, require
from gatecast.core.threshold import Threshold


class RawFile(Schema):
    """One raw file of a feed."""

    path: str
    """A file name, a path, a glob, or any fsspec address (``s3://…``). A relative path is looked up in
    ``$GATECAST_DATA_DIR``, then in ``data/raw/``, then in the project folder."""

    url: str | None = None
    """Where it is downloaded from, into ``data/raw/``, if it is in none of these folders."""

    sha256: str | None = None
    """Checked wherever the file was found."""

    @field_validator("path")
    @classmethod
    def _named(cls, path: str) -> str:
        require(bool(path), "", path, "a path, a glob or an address")
        return path


class Covariates(Schema):
    """Which columns go with the target, and when each is known."""

    static: list[Text] = Field(default_factory=list)
    """One value per series."""

    past: list[Text] = Field(default_factory=list)
    """Known up to now."""

    future: list[Text] = Field(default_factory=list)
    """Known ahead: rows after the last observation carry it, with an empty target."""

    categorical: list[Text] = Field(default_factory=list)
    """Those of the above whose values are names, not numbers."""

    @property
    def roles(self) -> list[str]:
        """All columns, by role."""
        return self.static + self.past + self.future

    @model_validator(mode="after")
    def _roles(self) -> Self:
        roles = self.roles
        require(len(set(roles)) == len(roles), "", roles, "without a column in two roles")
        strays = sorted(set(self.categorical) - set(roles))
        rule = "columns listed as static, past or future"
        require(not strays, "categorical", strays, rule)
        return self


class Splits(Schema):
    """Where training ends and where the test begins, counted back from the end of the data."""

    by: Literal["time", "series_end"] = "time"
    """``time`` cuts all series at the same moments, ``series_end`` counts back from each series' own end."""

    validation: float = 0.1
    """A fraction of the time span (below 1), or a number of steps."""

    test: float = 0.2
    """A fraction of the time span (below 1), or a number of steps."""

    @field_validator("validation", "test")
    @classmethod
    def _span(cls, value: float) -> float:
        ok = value > 0 and (value < 1 or value == int(value))
        require(ok, "", value, "a fraction below 1 or a whole number of steps")
        return value


class Task(Schema):
    """What is normally forecast from a source."""

    horizon: int = Field(ge=1)
    """Steps to forecast."""

    season_length: int | None = Field(default=None, ge=1)
    """Steps in a season, 1: none; null: the usual one of the frequency (see ``data.calendar.usual_season``)."""

    stride: int | None = Field(default=None, ge=1)
    """Steps between two origins of the test; null: the horizon."""

    splits: Splits = Splits()
    """Where training ends and where the test begins."""

    event: Threshold = Field(default_factory=dict)
    """What models with ``head: event`` forecast the probability of, in units of the target: ``{above: 150}`` or
    ``{below: …}``."""


class Demo(Schema):
    """Size of the embedded demo feed."""

    n_series: int = Field(default=200, ge=1)
    """Number of series."""

    n_days: int = Field(default=100, ge=14)
    """Days of history."""


class Feed(Schema):
    """What a feed means, whatever it is read from: its columns, its time axis, the task it is used for."""

    name: str = ""
    """Set from the recipe's file name."""

    kind: str = ""
    """Where it comes from."""

    id: Text | None = None
    """Column of the series id; null: the whole feed is one series."""

    time: list[Text] = Field(default_factory=list)
    """Column(s) of the time stamp, joined by a space."""

    time_format: str | None = None
    """Null: ISO 8601; else e.g. ``%d.%m.%Y %H:%M``."""

    known_at: Text | None = None
    """Column: when a row became known; of several rows for one time the one known last counts."""

    target: Text = "y"
    """Column of the values to forecast."""

    decimal: str = "."
    """Decimal sign of numbers."""

    frequency: str | None = None
    """A pandas frequency alias: 15min, h, D, W-MON, MS, QS, YS, …"""

    timezone: str | None = None
    """Zone of local stamps, e.g. Europe/Berlin; stored as UTC."""

    covariates: Covariates = Covariates()
    """Which columns go with the target."""

    holidays: str | None = None
    """A country code: its public holidays become a known covariate."""

    calendar: bool = True
    """Whether time of day, day of week … carry meaning."""

    duplicates: Literal["error", "mean", "first", "last"] = "error"
    """What to do with two values for one time."""

    bad_rows: Literal["error", "quarantine"] = "error"
    """What to do with rows that cannot be read."""

    task: Task = Task(horizon=1)
    """What is normally forecast from it."""

    @property
    def goes_on(self) -> bool:
        """Whether newer values are expected: a feed that has ended is as old as it is."""
        return True

    @model_validator(mode="after")
    def _columns(self) -> Self:
        target, roles = self.target, self.covariates.roles
        require(target not in roles, "covariates", target, "without the target column")
        others = (self.id, target, *self.time, *roles)
        own = self.known_at is None or self.known_at not in others
        require(own, "known_at", self.known_at, "a column of its own")
        return self


class SourceRecipe(Feed):
    """A source recipe: a feed with a name and a task."""

    task: Task
    """What is normally forecast from it."""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is not None
        rule = (
            "letters, digits, '_', '.' and '-' (it names the source), without '-event' at its end"
            " (models of events have)"
        )
        require(plain and not name.endswith("-event"), "", name, rule)
        return name


class FileFeed(SourceRecipe):
    """A source recipe of ``kind: files``: tables in CSV or Parquet."""

    kind: Literal["files"] = "files"
    """Where it comes from."""

    files: list[RawFile] = Field(default_factory=list)
    """The raw files."""

    actuals: RawFile | None = None
    """Values that come after the feed's end; never ingested, read by ``monitor``."""

    layout: Literal["long", "wide", "wide_rows"] = "long"
    """A row per observation, a column per series, or a row per series."""

    start: str | None = None
    """First stamp of every series, where the feed has no stamps."""

    rows: int | None = Field(default=None, ge=1)
    """Read only the first rows of each file."""

    separator: str = ","
    """Between two columns of a CSV file."""

    na_values: list[Text] = Field(default_factory=list)
    """What else means that a value is missing."""

    @property
    def goes_on(self) -> bool:
        """Not files whose checksum is fixed, nor those whose stamps are made up."""
        return self.start is None and not any(file.sha256 for file in self.files)

    @model_validator(mode="after")
    def _layout(self) -> Self:
        require(bool(self.files), "files", [], "a list with at least one `path`")
        wide = self.layout != "long"
        if self.layout == "wide_rows":
            rule = "the column that names the series of a row"
            require(self.id is not None, "id", self.id, rule)
            rule = "the first time stamp (the rows have none)"
            require(self.start is not None, "start", self.start, rule)
        else:
            rule = "a list of the column(s) that hold the time stamp"
            require(bool(self.time), "time", self.time, rule)
        rule = "null for wide layouts: a long table has a row, and a time, for each value"
        require(not wide or self.known_at is None, "known_at", self.known_at, rule)
        rule = "empty for wide layouts: use a long table for covariates"
        require(not wide or not self.covariates.roles, "covariates", self.covariates.roles, rule)
        return self


class DemoFeed(SourceRecipe):
    """A source recipe of ``kind: demo``: the embedded demo, which needs no file."""

    kind: Literal["demo"] = "demo"
    """Where it comes from."""

    demo: Demo = Demo()
    """Its size."""

    @property
    def goes_on(self) -> bool:
        """The demo has an end."""
        return False

    @model_validator(mode="after")
    def _generated(self) -> Self:
        require(self.known_at is None, "known_at", self.known_at, "null for the demo")
        return self


def data_dir() -> Path | None:
    """The folder named by ``GATECAST_DATA_DIR``, or None."""
    value = os.environ.get("GATECAST_DATA_DIR")
    return Path(value).expanduser() if value else None
