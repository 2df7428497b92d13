"""Typed configuration: what every key means.

Hydra checks keys and types against these dataclasses; :mod:`gatecast.checks` checks ranges. Both happen before
any work starts. ``params.yaml`` fills the top level, a source recipe fills ``feed``, a model recipe
``model``, a trainer recipe ``fit``, a tuning recipe ``search``, a sink recipe ``storage``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

QUANTILES: tuple[float, ...] = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
"""The one grid of quantile levels; 0.025 and 0.975 bound the 95 % interval, 0.1 and 0.9 the 80 % one."""

MEDIAN = QUANTILES.index(0.5)

KINDS = ("recurrent", "linear", "logistic", "ensemble")
CELLS = ("rnn", "lstm", "gru")
ACTIVATIONS = (
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
    "linear",
)
DECODERS = ("direct", "experts", "seq2seq", "autoregressive", "segment")
DECODER_CELLS = ("rnn", "lstm", "gru")
ATTENTIONS = ("none", "additive", "dot")
HEADS = ("quantile", "point", "normal", "student", "negative_binomial", "event")
DISTRIBUTIONS = ("normal", "student", "negative_binomial")
LOSSES = ("mae", "mse", "huber")
BASELINES = ("naive", "seasonal_naive")
PERSISTENCE, LOGISTIC = EVENT_BASELINES = ("persistence", "logistic")
METRICS = ("mase", "smape", "rmsse", "wape", "wql")
FALLBACKS = ("seasonal_naive", "quarantine")
ENGINES = ("local", "ray")
SINKS = ("parquet", "duckdb", "postgres")
PRECISIONS = ("32-true", "bf16-mixed", "64-true")


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


@dataclass
class Model:
    """A model recipe. ``null`` means: resolved from the panel's season length and horizon (see ``models.inputs``).

    An ensemble's members are recipes too: what a member leaves out stands beside ``members``.
    """

    kind: str = "recurrent"  # recurrent | linear | logistic | ensemble
    cell: str = "lstm"  # rnn | lstm | gru
    units: Any = 64  # width of the recurrent layers; a list: of each layer in turn
    layers: int = 1  # where `units` is one number
    dropout: float = 0.2  # of the projected inputs and between layers, a mask a step
    activation: str = "tanh"  # of a cell's candidate and output
    recurrent_activation: str = "sigmoid"  # of a cell's gates
    input_dropout: float = 0.0  # of what a recurrent layer reads, one mask a sequence
    recurrent_dropout: float = 0.0  # of the state that a cell reads, one mask a sequence
    layer_norm: bool = False  # inside the cells
    bidirectional: bool = False  # also from each origin back; twice `units` wide, and slower
    residual: bool = False  # each recurrent layer adds to what it reads
    dilations: list[int] = field(default_factory=list)  # steps a state reaches back, by layer
    window: int | None = None  # rows one encoder step sees
    wider: float = 1.0  # times the rows that `window: null` resolves to
    segment: int | None = None  # rows between two encoder steps
    steps: int = 14  # encoder steps in a sequence
    forks: int = 7  # last steps of a training sequence that forecast (and are scored)
    reads: str = (
        "window"  # what a step reads of its window: window | segment (its newest rows only)
    )
    project: bool = True  # a layer between a step's inputs and the recurrent one
    normalisation: str = (
        "level"  # level | seasonal | mean | auto: seasonal where values stay well above 0
    )
    mirror: str = "auto"  # auto: train upside down, too, where many targets are below 0 | never
    decoder: str = "direct"  # direct | experts | seq2seq | autoregressive | segment
    skip: str = "trained"  # all but experts: the linear skip of the look-back is trained | fixed
    experts: int = 8  # experts: linear maps that the gate mixes
    decoder_cell: str = "gru"  # seq2seq, autoregressive, segment: rnn | lstm | gru
    attention: str = "none"  # seq2seq: none | additive | dot, over the states up to the origin
    teacher_forcing: float = 0.0  # seq2seq: share of training batches that are shown true values
    paths: int = 100  # autoregressive: trajectories that are sampled
    pieces: int = 4  # segment: parts of the horizon, each decoded by one step
    head: str = "quantile"  # quantile | point | normal | student | negative_binomial | event
    loss: str = "mae"  # point: mae | mse | huber
    event: dict[str, float] = field(default_factory=dict)  # event: as in Task; empty: the source's
    event_weight: float = 1.0  # event: how much more a step counts by which it has happened
    emphasis: float = (
        0.0  # how much more an error counts where a series changes more, relative to its level
    )
    weigh: str = "equal"  # series count alike: equal | by their mean magnitude: volume
    spread_weight: float = 1.0  # of every other quantile level, beside the median's 1
    ridge: list[float] = field(
        default_factory=lambda: [0.001, 0.01, 0.1, 1.0, 10.0]
    )  # linear: penalties tried; logistic: a hundredth of each
    members: list[dict[str, Any]] = field(default_factory=list)  # ensemble: what each changes
    seeds: int = 1  # how many times a member of an ensemble is trained, each with a seed of its own

    @property
    def layer_units(self) -> list[int]:
        """Width of each recurrent layer, in one direction."""
        return list(self.units) if isinstance(self.units, list) else [self.units] * self.layers

    @property
    def state_units(self) -> int:
        """Width of the state that a decoder reads."""
        return self.layer_units[-1] * (2 if self.bidirectional else 1)


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


@dataclass
class Range:
    """What one setting is tried at: numbers from ``low`` to ``high``, or ``choices``, which go before a range."""

    low: Any = None
    high: Any = None
    log: bool = False  # evenly in their logarithm
    choices: list[Any] = field(default_factory=list)


@dataclass
class Search:
    """A tuning recipe: how many trials, for how long, over which settings of the model and the trainer recipe."""

    trials: int = (
        20  # that end by themselves (pruned and failed ones too), over all runs of the command
    )
    minutes: float | None = None  # no trial of this run begins later; null: no limit
    space: dict[str, Any] = field(default_factory=dict)  # of Range, by setting


@dataclass
class Backtest:
    """Rolling origins of the comparison: rows between two origins (null: the recipe's, else the horizon)."""

    stride: int | None = None


@dataclass
class Promote:
    """The gate: what a challenger must show on the rolling origins of the test span, now.

    ``min_origins``: matured origins that do not overlap. ``min_skill``: 1 - score / seasonal naive's. ``coverage_95``:
    bounds of the share of values inside the 95 % interval. ``margin``: gain over the champion, relative to its score,
    that must be reached with this ``confidence`` (one-sided, paired resamples of series and origins).
    ``max_segment_loss``: most that a segment of at least ``min_segment_series`` series may lose against the champion.
    ``replace_incomparable``: a champion that cannot be compared (another horizon, other columns, forecasts that are
    no number) is replaced, not kept.
    """

    metric: str = "mase"
    min_origins: int = 10
    min_skill: float = 0.01
    coverage_95: list[float] = field(default_factory=lambda: [0.85, 0.995])
    margin: float = 0.01
    confidence: float = 0.95
    max_segment_loss: float = 0.05
    min_segment_series: int = 10
    replace_incomparable: bool = False


@dataclass
class Registry:
    """What housekeeping keeps: the newest versions, and those whose forecasts are not older than ``days``."""

    keep: int = 20
    days: int = 90


@dataclass
class Score:
    """A scoring run: when it may be published, and by what it is computed.

    ``min_success_fraction``: share of the series that the model itself must forecast, else nothing is published.
    ``fallback``: what becomes of a series that it cannot forecast: seasonal_naive | quarantine (not in the table,
    listed in the manifest). ``workers``: processes of the engine (local: this one among them); null: the cores that it
    may use. ``device``: cpu | cuda | auto (a GPU if there is one: one process then feeds it). ``precision``: 32-true |
    bf16-mixed, which pays where the hardware has it.
    ``show``: ids of series that the page of a run draws in any case. ``snapshots``: how many of what runs ingested
    are kept in data/scoring, of each source.
    """

    min_success_fraction: float = 0.95
    fallback: str = "seasonal_naive"
    engine: str = "local"
    workers: int | None = None
    device: str = "cpu"
    precision: str = "32-true"
    show: list[str] = field(default_factory=list)
    snapshots: int = 10


@dataclass
class Sink:
    """A sink recipe: where forecasts are published."""

    kind: str = "parquet"
    address: str = "forecasts"  # a folder or any fsspec address; a DuckDB file; postgresql://user@host/database


@dataclass
class Schedule:
    """When ``mode=due`` scores: slots are the instants at which ``cron`` fires by the wall clock of ``timezone``.

    ``timezone``: null: the source's, else UTC. ``window``: how far back a missing slot is still scored. ``catchup``:
    which of several missing ones: all, the ``latest``, or ``none`` (the latest, if it is a few minutes old at most).
    ``overlap``: while a slot is being scored, another call ends (``skip``) or waits (``queue``).
    """

    cron: str | None = None  # five fields, weekdays by name; null: no schedule
    timezone: str | None = None
    window: str = "1D"
    catchup: str = "latest"  # latest | all | none
    overlap: str = "skip"  # skip | queue


@dataclass
class Config:
    """Everything a pipeline step may read. The top level is ``params.yaml``."""

    source: str = ""
    seed: int = 1
    as_of: str | None = None
    horizon: int | None = None
    season_length: int | None = None
    trainer: str = "auto"
    tune: str = "default"
    variants: list[str] = field(default_factory=list)
    backtest: Backtest = field(default_factory=Backtest)
    promote: Promote = field(default_factory=Promote)
    registry: Registry = field(default_factory=Registry)
    sink: str = "parquet"
    score: Score = field(default_factory=Score)
    schedule: Schedule = field(default_factory=Schedule)
    feed: Feed | None = None
    model: Model | None = None
    fit: Fit | None = None
    search: Search | None = None
    storage: Sink | None = None
    variant: str = ""  # name of the chosen model recipe
    check: bool = False  # ingest: report on a feed, write nothing
    fingerprint: bool = False  # ingest: only note which raw files there are
    mode: str = ""  # promote: promote | rollback; score: now | due | backfill; empty: the first
    begin: str | None = None  # score mode=backfill: first time (`from=` on the command line)
    end: str | None = None  # score mode=backfill: last time, a bare date is all of it (`to=`)
    hindcast: bool = False  # score mode=backfill: by the champion of now, not by that of each time
    reason: str = ""  # promote: why it is rolled back, for the ledger
    event: bool = False  # promote mode=rollback, lineage: of the champion, or version, that forecasts an event
    run_key: str | None = None  # lineage, report: of these forecasts
    version: int | None = None  # lineage: of this registered version
    digest: str | None = None  # lineage: of this package
    format: str = "text"  # lineage: text | json
    apply: bool = False  # housekeeping: do it


def members(model: Model) -> list[Model]:
    """The recipes of an ensemble's members, as often as each has seeds."""
    shared = replace(model, kind="recurrent", members=[], seeds=1)
    return [
        replace(shared, **{**changes, "seeds": 1})
        for changes in model.members
        for _ in range(changes.get("seeds", model.seeds))
    ]


def data_dir() -> Path | None:
    """The folder named by ``GATECAST_DATA_DIR``, or None."""
    value = os.environ.get("GATECAST_DATA_DIR")
    return Path(value).expanduser() if value else None
