"""Typed configuration: what every key means, which values it may have.

Hydra checks keys and types against these dataclasses; :func:`check` checks ranges. Both happen before
any work starts. ``params.yaml`` fills the top level, a source recipe fills ``feed``, a model recipe
``model``, a trainer recipe ``fit``, a tuning recipe ``search``, a sink recipe ``storage``.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gatecast.errors import ConfigError, did_you_mean

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
    listed in the manifest). ``workers``: processes of the engine; null: the cores this process may use.
    ``device``: cpu | cuda | auto (a GPU if there is one: one process then feeds it). ``precision``: 32-true |
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


def _require(ok: bool, where: str, key: str, value: Any, rule: str) -> None:
    if not ok:
        raise ConfigError(
            "RANGE",
            f"{where}: `{key}` is {value!r}, but must be {rule}.",
            f"Correct `{key}` in {where}.",
        )


def _one_of(value: str, known: tuple[str, ...], where: str, key: str) -> None:
    if value not in known:
        raise ConfigError(
            "CHOICE",
            f"{where}: `{key}` is {value!r}, which is none of {', '.join(known)}.{did_you_mean(value, known)}",
            f"Correct `{key}` in {where}.",
        )


def check(config: Config, recipes: dict[str, str] | None = None) -> None:
    """Check the ranges of every value that is present.

    Args:
        config: the composed configuration.
        recipes: chosen recipe of each Hydra group (``source``, ``model``, ``trainer``, ``tune``, ``sink``), for
            the message.

    Members of an ensemble and ranges of a search take the types of the schema, in place.

    Raises:
        ConfigError: RANGE, CHOICE or ADDRESS, naming the key and the file.
    """
    recipes = recipes or {}
    p = "params.yaml"
    for key in ("horizon", "season_length"):
        value = getattr(config, key)
        _require(
            value is None or value >= 1, p, key, value, "a whole number of steps from 1 up, or null"
        )
    _require(config.seed >= 0, p, "seed", config.seed, "0 or more")
    _require(
        bool(config.variants), p, "variants", config.variants, "a list of at least one model recipe"
    )
    taken = sorted(set(config.variants) & {*BASELINES, PERSISTENCE})
    _require(not taken, p, "variants", taken, "without the names of the baselines")
    _require(
        len(set(config.variants)) == len(config.variants),
        p,
        "variants",
        config.variants,
        "without repeats",
    )
    stride = config.backtest.stride
    _require(stride is None or stride >= 1, p, "backtest.stride", stride, "1 or more, or null")
    _check_promote(config.promote, p)
    _check_schedule(config.schedule, p)
    for key in ("keep", "days"):
        value = getattr(config.registry, key)
        _require(value >= 1, p, f"registry.{key}", value, "1 or more")
    _check_score(config.score, p)
    if config.storage is not None:
        where = f"conf/sink/{recipes.get('sink', config.sink)}.yaml"
        _one_of(config.storage.kind, SINKS, where, "kind")
        if config.storage.kind == "postgres" and not config.storage.address:
            raise ConfigError(
                "ADDRESS",
                f"{where}: no database is named: the environment has no GATECAST_SINK_URI.",
                "export GATECAST_SINK_URI=postgresql://user@host:5432/database (its password: PGPASSWORD or ~/.pgpass)",
            )
        _require(bool(config.storage.address), where, "address", "", "a folder or an address")
    _one_of(config.format, ("text", "json"), "the command line", "format")
    if config.feed is not None:
        _check_feed(config.feed, f"conf/source/{recipes.get('source', config.source)}.yaml")
    if config.model is not None:
        _check_model(config.model, f"conf/model/{recipes.get('model', '?')}.yaml")
    if config.fit is not None:
        _check_fit(config.fit, f"conf/trainer/{recipes.get('trainer', config.trainer)}.yaml")
    if config.search is not None:
        _check_search(config.search, f"conf/tune/{recipes.get('tune', config.tune)}.yaml")


def _check_promote(rules: Promote, where: str) -> None:
    _one_of(rules.metric, METRICS, where, "promote.metric")
    bounds = rules.coverage_95
    ranges = {
        "min_origins": (rules.min_origins >= 1, "1 or more"),
        "min_skill": (rules.min_skill < 1, "below 1"),
        "coverage_95": (
            len(bounds) == 2 and 0 <= bounds[0] < bounds[-1] <= 1,
            "two shares from 0 to 1, the smaller first",
        ),
        "margin": (0 <= rules.margin < 1, "from 0 up to 1"),
        "confidence": (0.5 <= rules.confidence < 1, "from 0.5 up to 1"),
        "max_segment_loss": (rules.max_segment_loss >= 0, "0 or more"),
        "min_segment_series": (rules.min_segment_series >= 1, "1 or more"),
    }
    for key, (ok, rule) in ranges.items():
        _require(ok, where, f"promote.{key}", getattr(rules, key), rule)


def _check_score(rules: Score, where: str) -> None:
    share = rules.min_success_fraction
    _require(0 <= share <= 1, where, "score.min_success_fraction", share, "from 0 to 1")
    _one_of(rules.fallback, FALLBACKS, where, "score.fallback")
    _one_of(rules.engine, ENGINES, where, "score.engine")
    _one_of(rules.device, ("cpu", "cuda", "auto"), where, "score.device")
    _one_of(rules.precision, ("32-true", "bf16-mixed"), where, "score.precision")
    workers = rules.workers
    _require(workers is None or workers >= 1, where, "score.workers", workers, "1 or more, or null")
    _require(rules.snapshots >= 1, where, "score.snapshots", rules.snapshots, "1 or more")


def check_mode(config: Config, modes: tuple[str, ...]) -> None:
    """Check what a command was asked to do; the first of its modes is what it does unless told otherwise.

    Raises:
        ConfigError: CHOICE, COMBINATION.
    """
    where = "the command line"
    if modes:
        config.mode = config.mode or modes[0]
        _one_of(config.mode, modes, where, "mode")
    _require(not config.mode or bool(modes), where, "mode", config.mode, "left out here")
    backfill = config.mode == "backfill"
    for key, value in {"from": config.begin, "to": config.end}.items():
        if (value is None) == backfill:
            raise ConfigError(
                "COMBINATION",
                f"{where}: `{key}` and `mode=backfill` need each other.",
                "Write mode=backfill from=2025-03-01 to=2025-03-07.",
            )
    if config.hindcast and not backfill:
        raise ConfigError(
            "COMBINATION", f"{where}: `hindcast` is of `mode=backfill`.", "Add mode=backfill."
        )
    if config.as_of and config.mode in ("due", "backfill"):
        raise ConfigError(
            "COMBINATION",
            f"`as_of` is {config.as_of}, but mode={config.mode} takes the time from its slots.",
            "Leave `as_of` out (params.yaml: null).",
        )


def _check_schedule(schedule: Schedule, where: str) -> None:
    from gatecast import crontab  # not among what a registered model brings

    _one_of(schedule.catchup, ("latest", "all", "none"), where, "schedule.catchup")
    _one_of(schedule.overlap, ("skip", "queue"), where, "schedule.overlap")
    zone, window, cron = schedule.timezone, schedule.window, schedule.cron
    real = zone is None or crontab.is_zone(zone)
    _require(real, where, "schedule.timezone", zone, "like Europe/Berlin, or null")
    spans = crontab.is_span(window)
    _require(spans, where, "schedule.window", window, "a span above 0, like 12h or 1D")
    fault = None if cron is None else crontab.fault(cron)
    _require(fault is None, where, "schedule.cron", cron, fault or "")


def _check_feed(feed: Feed, where: str) -> None:
    named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", feed.name) is not None
    _require(
        named and not feed.name.endswith("-event"),
        where,
        "file name",
        feed.name,
        "letters, digits, '_', '.' and '-' (it names the source), without '-event' at its end (models of events have)",
    )
    _one_of(feed.kind, ("files", "demo"), where, "kind")
    _one_of(feed.layout, ("long", "wide", "wide_rows"), where, "layout")
    _one_of(feed.duplicates, ("error", "mean", "first", "last"), where, "duplicates")
    _one_of(feed.bad_rows, ("error", "quarantine"), where, "bad_rows")
    _one_of(feed.task.splits.by, ("time", "series_end"), where, "task.splits.by")
    _require(feed.rows is None or feed.rows >= 1, where, "rows", feed.rows, "1 or more, or null")
    task = feed.task
    _require(
        task.horizon >= 1, where, "task.horizon", task.horizon, "a whole number of steps from 1 up"
    )
    season = task.season_length
    _require(
        season is None or season >= 1,
        where,
        "task.season_length",
        season,
        "1 (no season) or more, or null",
    )
    _require(
        task.stride is None or task.stride >= 1,
        where,
        "task.stride",
        task.stride,
        "1 or more, or null",
    )
    for name in ("validation", "test"):
        value = getattr(task.splits, name)
        ok = value > 0 and (value < 1 or value == int(value))
        _require(
            ok, where, f"task.splits.{name}", value, "a fraction below 1 or a whole number of steps"
        )
    _check_event(task.event, where, "task.event")
    c = feed.covariates
    roles = c.static + c.past + c.future
    _require(
        len(set(roles)) == len(roles), where, "covariates", roles, "without a column in two roles"
    )
    strays = sorted(set(c.categorical) - set(roles))
    _require(
        not strays,
        where,
        "covariates.categorical",
        strays,
        "columns listed as static, past or future",
    )
    _require(
        feed.target not in roles, where, "covariates", feed.target, "without the target column"
    )
    if feed.kind == "demo":
        _require(feed.demo.n_series >= 1, where, "demo.n_series", feed.demo.n_series, "1 or more")
        _require(feed.demo.n_days >= 14, where, "demo.n_days", feed.demo.n_days, "14 or more")
        _require(feed.known_at is None, where, "known_at", feed.known_at, "null for the demo")
        return
    _require(bool(feed.files), where, "files", feed.files, "a list with at least one `path`")
    _require(
        all(f.path for f in feed.files),
        where,
        "files",
        "an empty path",
        "a path, a glob or an address",
    )
    if feed.layout == "wide_rows":
        _require(
            feed.id is not None, where, "id", feed.id, "the column that names the series of a row"
        )
        _require(
            feed.start is not None,
            where,
            "start",
            feed.start,
            "the first time stamp (the rows have none)",
        )
    else:
        _require(
            bool(feed.time),
            where,
            "time",
            feed.time,
            "a list of the column(s) that hold the time stamp",
        )
    _require(
        feed.known_at is None or feed.layout == "long",
        where,
        "known_at",
        feed.known_at,
        "null for wide layouts: a long table has a row, and a time, for each value",
    )
    _require(
        feed.known_at is None or feed.known_at not in (feed.id, feed.target, *feed.time, *roles),
        where,
        "known_at",
        feed.known_at,
        "a column of its own",
    )
    if feed.layout != "long":
        _require(
            not roles,
            where,
            "covariates",
            roles,
            "empty for wide layouts: use a long table for covariates",
        )


def _check_event(event: dict[str, float], where: str, key: str) -> None:
    limits = {str(side): value for side, value in event.items()}
    _require(
        not limits
        or (
            len(limits) == 1
            and limits.keys() <= {"above", "below"}
            and all(map(_finite, [*limits.values()]))
        ),
        where,
        key,
        limits,
        "one finite threshold: {above: …} or {below: …}",
    )


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def members(model: Model) -> list[Model]:
    """The recipes of an ensemble's members, as often as each has seeds."""
    shared = replace(model, kind="recurrent", members=[], seeds=1)
    return [
        replace(shared, **{**changes, "seeds": 1})
        for changes in model.members
        for _ in range(changes.get("seeds", model.seeds))
    ]


def _typed(changes: dict[str, Any], where: str, schema: type = Model) -> dict[str, Any]:
    """The values in the types of the schema, as those of a recipe are."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        whole = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), changes))
        return {key: getattr(whole, key) for key in changes}
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        what = f"{where}: `{error.full_key}` cannot be used: {reason}"
        raise ConfigError("VALUE", what, "Correct the value.") from None


def _check_model(model: Model, where: str) -> None:
    _one_of(model.kind, KINDS, where, "kind")
    _require(
        bool(model.members) == (model.kind == "ensemble"),
        where,
        "members",
        model.members,
        "a list of at least one member for `kind: ensemble`, and empty for every other kind",
    )
    for k, changes in enumerate(model.members):
        here = f"{where}, member {k + 1}"
        for key in sorted(set(changes) - {f.name for f in fields(Model)}):
            _one_of(key, tuple(f.name for f in fields(Model)), here, "setting")
        model.members[k] = changes = _typed(changes, here)
        _one_of(changes.get("kind", "recurrent"), KINDS[:3], here, "kind")
        _require(changes.get("seeds", 1) >= 1, here, "seeds", changes.get("seeds"), "1 or more")
    for member in members(model):
        _check_model(member, f"{where}, a member")
        if (member.head == "event", member.event) != (model.head == "event", model.event):
            raise ConfigError(
                "COMBINATION",
                f"{where}: a member forecasts an event that is not the ensemble's, or no event.",
                "Write `head: event` beside `members`, and `event` too if it is not the source's.",
            )
    _one_of(model.cell, CELLS, where, "cell")
    _one_of(model.reads, ("window", "segment"), where, "reads")
    _one_of(
        model.normalisation, ("level", "log", "seasonal", "mean", "auto"), where, "normalisation"
    )
    _one_of(model.mirror, ("auto", "never"), where, "mirror")
    _one_of(model.decoder, DECODERS, where, "decoder")
    _one_of(model.skip, ("trained", "fixed"), where, "skip")
    _one_of(model.weigh, ("equal", "volume"), where, "weigh")
    _one_of(model.decoder_cell, DECODER_CELLS, where, "decoder_cell")
    _one_of(model.attention, ATTENTIONS, where, "attention")
    _one_of(model.head, HEADS, where, "head")
    _one_of(model.loss, LOSSES, where, "loss")
    _check_combination(model, where)
    for key in (*("layers", "steps", "forks", "experts", "seeds", "paths", "pieces"),):
        _require(getattr(model, key) >= 1, where, key, getattr(model, key), "1 or more")
    _check_layers(model, where)
    for key in ("window", "segment"):
        value = getattr(model, key)
        _require(value is None or value >= 1, where, key, value, "1 or more, or null")
    _require(
        model.forks <= model.steps, where, "forks", model.forks, f"at most `steps` ({model.steps})"
    )
    forcing = model.teacher_forcing
    _require(0 <= forcing <= 1, where, "teacher_forcing", forcing, "from 0 to 1")
    _require(model.wider > 0, where, "wider", model.wider, "above 0")
    for key in ("emphasis", "spread_weight"):
        _require(getattr(model, key) >= 0, where, key, getattr(model, key), "0 or more")
    _require(
        bool(model.ridge) and min(model.ridge) > 0,
        where,
        "ridge",
        model.ridge,
        "a list of penalties above 0",
    )


def _check_layers(model: Model, where: str) -> None:
    widths = model.units if isinstance(model.units, list) else [model.units]
    _require(
        bool(widths) and all(type(n) is int and n >= 1 for n in widths),
        where,
        "units",
        model.units,
        "1 or more, or a list of such, one a layer",
    )
    _require(
        not isinstance(model.units, list) or model.layers in (1, len(widths)),
        where,
        "layers",
        model.layers,
        f"left out, or {len(widths)}: `units` lists the layers",
    )
    _require(
        not model.dilations
        or (len(model.dilations) == len(model.layer_units) and min(model.dilations) >= 1),
        where,
        "dilations",
        model.dilations,
        f"empty, or a list of {len(model.layer_units)} numbers of steps, one a layer",
    )
    for key in ("activation", "recurrent_activation"):
        _one_of(getattr(model, key), ACTIVATIONS, where, key)
    _require(
        model.cell != "rnn" or model.recurrent_activation == "sigmoid",
        where,
        "recurrent_activation",
        model.recurrent_activation,
        "left out for `cell: rnn`, which has no gates",
    )
    for key in ("dropout", "input_dropout", "recurrent_dropout"):
        _require(0 <= getattr(model, key) < 1, where, key, getattr(model, key), "from 0 up to 1")


def _check_combination(model: Model, where: str) -> None:
    """Refuse parts that do not go together."""
    refused = [
        (
            model.attention != "none" and model.decoder != "seq2seq",
            f"`attention: {model.attention}` is of `decoder: seq2seq`, not of {model.decoder!r}",
        ),
        (
            model.decoder == "autoregressive" and model.head not in DISTRIBUTIONS,
            f"`decoder: autoregressive` samples from a distribution, `head: {model.head}` is none of "
            + ", ".join(DISTRIBUTIONS),
        ),
        (
            model.head == "event" and model.decoder == "seq2seq",
            "`head: event` has no value to hand from step to step, as `decoder: seq2seq` does",
        ),
        (
            (model.head == "negative_binomial") != (model.normalisation == "mean"),
            f"`head: negative_binomial` and `normalisation: mean` need each other; there are"
            f" `head: {model.head}` and `normalisation: {model.normalisation}`",
        ),
        (
            bool(model.event) and model.head != "event",
            f"`event` is of `head: event`, not of `head: {model.head}`",
        ),
        (
            (model.kind, model.head == "event") in (("linear", True), ("logistic", False)),
            f"`kind: {model.kind}` forecasts "
            + ("quantiles" if model.kind == "linear" else "an event")
            + f", there is `head: {model.head}`",
        ),
    ]
    for wrong, what in refused:
        if wrong:
            raise ConfigError("COMBINATION", f"{where}: {what}.", f"Change one of them in {where}.")
    _check_event(model.event, where, "event")
    _require(model.event_weight > 0, where, "event_weight", model.event_weight, "above 0")


def _check_fit(fit: Fit, where: str) -> None:
    for key in (
        "max_epochs",
        "steps_per_epoch",
        "batch_size",
        "patience",
        "max_validation_windows",
        "log_every",
    ):
        _require(getattr(fit, key) >= 1, where, key, getattr(fit, key), "1 or more")
    _one_of(fit.precision, PRECISIONS, where, "precision")
    devices = fit.devices
    _require(devices >= 1 or devices == -1, where, "devices", devices, "1 or more, or -1 (all)")
    _require(
        devices <= fit.batch_size,
        where,
        "devices",
        devices,
        f"at most `batch_size` ({fit.batch_size}): devices share a batch",
    )
    _require(fit.gradient_clip >= 0, where, "gradient_clip", fit.gradient_clip, "0 (off) or more")
    _require(fit.learning_rate > 0, where, "learning_rate", fit.learning_rate, "above 0")
    _require(fit.weight_decay >= 0, where, "weight_decay", fit.weight_decay, "0 or more")
    _require(0 <= fit.averaging < 1, where, "averaging", fit.averaging, "from 0 up to 1")
    _require(
        fit.threads is None or fit.threads >= 1, where, "threads", fit.threads, "1 or more, or null"
    )


def _check_search(search: Search, where: str) -> None:
    _require(search.trials >= 1, where, "trials", search.trials, "1 or more")
    minutes = search.minutes
    _require(minutes is None or minutes > 0, where, "minutes", minutes, "above 0, or null")
    _require(bool(search.space), where, "space", search.space, "of at least one setting")
    for name, given in search.space.items():
        if not isinstance(given, Range):
            _require(
                isinstance(given, dict),
                where,
                f"space.{name}",
                given,
                "`low` and `high`, or `choices`",
            )
            given = Range(**_typed(given, f"{where}, `space.{name}`", Range))
        search.space[name] = r = given
        if r.choices:
            continue
        key, ends = f"space.{name}", (r.low, r.high)
        numbers = all(type(end) in (int, float) for end in ends)
        _require(numbers, where, key, ends, "two numbers, `low` and `high`, or a list of `choices`")
        _require(r.low < r.high, where, f"{key}.low", r.low, f"below `high` ({r.high})")
        _require(not r.log or r.low > 0, where, f"{key}.low", r.low, "above 0 for `log`")


def data_dir() -> Path | None:
    """The folder named by ``GATECAST_DATA_DIR``, or None."""
    value = os.environ.get("GATECAST_DATA_DIR")
    return Path(value).expanduser() if value else None
