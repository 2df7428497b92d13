"""What a source recipe says: where a feed lies, how to read it, what its columns mean, what is forecast from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class RawFile:
    """One raw file of a feed.

    ``path`` may be a file name, a path, a glob, or any fsspec address (``s3://…``). A relative path is looked
    up in ``$GATECAST_DATA_DIR``, then in ``data/raw/``, then in the project folder; if it is nowhere and
    ``url`` is given, it is downloaded into ``data/raw/``. ``sha256`` is checked wherever the file was found.
    """

    path: str = ""
    url: str | None = None
    sha256: str | None = None


@dataclass
class Covariates:
    """Which columns go with the target, and when each is known.

    ``static``: one value a series. ``past``: known up to now. ``future``: known ahead (rows after the last
    observation carry it, with an empty target). ``categorical``: those of the above whose values are names.
    """

    static: list[str] = field(default_factory=list)
    past: list[str] = field(default_factory=list)
    future: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)


@dataclass
class Splits:
    """Where training ends and where the test begins, counted back from the end of the data.

    ``validation`` and ``test`` are fractions of the time span (below 1) or numbers of steps (1 and above).
    ``by``: ``time`` cuts all series at the same moments, ``series_end`` counts back from each series' own end.
    """

    by: str = "time"
    validation: float = 0.1
    test: float = 0.2


@dataclass
class Task:
    """What is normally forecast from a source: horizon and season in steps, splits, stride of test origins.

    ``event``: what models with ``head: event`` forecast the probability of, in units of the target.
    """

    horizon: int = 0
    season_length: int | None = (
        None  # null: the usual one of the frequency (see data.calendar.usual_season)
    )
    stride: int | None = None
    splits: Splits = field(default_factory=Splits)
    event: dict[str, float] = field(default_factory=dict)  # {above: 150.0} or {below: …}


@dataclass
class Demo:
    """Size of the embedded demo feed."""

    n_series: int = 200
    n_days: int = 100


@dataclass
class Feed:
    """A source recipe: where the feed lies, how to read it, what its columns mean, the task it is used for."""

    name: str = ""  # set from the recipe's file name
    kind: str = "files"  # files | demo
    files: list[RawFile] = field(default_factory=list)
    actuals: RawFile | None = (
        None  # values that come after the feed's end; never ingested, read by `monitor`
    )
    layout: str = "long"  # long | wide (a column per series) | wide_rows (a row per series)
    id: str | None = None  # column of the series id; null: the whole feed is one series
    time: list[str] = field(default_factory=list)  # column(s) of the time stamp, joined by a space
    time_format: str | None = None
    known_at: str | None = None  # column: when a row became known; the row known last counts
    target: str = "y"
    start: str | None = None  # first stamp of every series, where the feed has no stamps
    frequency: str | None = None  # a pandas frequency alias: 15min, h, D, W-MON, MS, QS, YS, ...
    timezone: str | None = None  # zone of local stamps, e.g. Europe/Berlin; stored as UTC
    rows: int | None = None  # read only the first rows of each file
    separator: str = ","
    decimal: str = "."
    na_values: list[str] = field(default_factory=list)
    covariates: Covariates = field(default_factory=Covariates)
    holidays: str | None = None  # a country code: its public holidays become a known covariate
    calendar: bool = True  # whether time-of-day, day-of-week … carry meaning
    duplicates: str = (
        "error"  # error | mean | first | last: what to do with two values for one time
    )
    bad_rows: str = "error"  # error | quarantine: what to do with rows that cannot be read
    demo: Demo = field(default_factory=Demo)
    task: Task = field(default_factory=Task)


def data_dir() -> Path | None:
    """The folder named by ``GATECAST_DATA_DIR``, or None."""
    value = os.environ.get("GATECAST_DATA_DIR")
    return Path(value).expanduser() if value else None
