"""Checks of a composed configuration: ranges, choices, and settings that do not go together.

Keys and types are Hydra's to check, against :mod:`gatecast.config`. Nothing here reads data or loads a model.
"""

from __future__ import annotations

from gatecast.checks.feed import check_feed
from gatecast.checks.model import check_fit, check_search
from gatecast.checks.rules import one_of, require
from gatecast.config import Config
from gatecast.core.errors import ConfigError
from gatecast.evaluation.config import BASELINES, METRICS, PERSISTENCE
from gatecast.registry.config import Promote
from gatecast.schedule import crontab
from gatecast.schedule.config import Schedule
from gatecast.scoring.config import ENGINES, FALLBACKS, SINKS, Score


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
        require(
            value is None or value >= 1, p, key, value, "a whole number of steps from 1 up, or null"
        )
    require(config.seed >= 0, p, "seed", config.seed, "0 or more")
    require(
        bool(config.variants), p, "variants", config.variants, "a list of at least one model recipe"
    )
    taken = sorted(set(config.variants) & {*BASELINES, PERSISTENCE})
    require(not taken, p, "variants", taken, "without the names of the baselines")
    require(
        len(set(config.variants)) == len(config.variants),
        p,
        "variants",
        config.variants,
        "without repeats",
    )
    stride = config.backtest.stride
    require(stride is None or stride >= 1, p, "backtest.stride", stride, "1 or more, or null")
    _check_promote(config.promote, p)
    _check_schedule(config.schedule, p)
    for key in ("keep", "days"):
        value = getattr(config.registry, key)
        require(value >= 1, p, f"registry.{key}", value, "1 or more")
    _check_score(config.score, p)
    if config.storage is not None:
        where = f"conf/sink/{recipes.get('sink', config.sink)}.yaml"
        one_of(config.storage.kind, SINKS, where, "kind")
        if config.storage.kind == "postgres" and not config.storage.address:
            raise ConfigError(
                "ADDRESS",
                f"{where}: no database is named: the environment has no GATECAST_SINK_URI.",
                "export GATECAST_SINK_URI=postgresql://user@host:5432/database (its password: PGPASSWORD or ~/.pgpass)",
            )
        require(bool(config.storage.address), where, "address", "", "a folder or an address")
    one_of(config.format, ("text", "json"), "the command line", "format")
    if config.feed is not None:
        check_feed(config.feed, f"conf/source/{recipes.get('source', config.source)}.yaml")
    if config.fit is not None:
        check_fit(config.fit, f"conf/trainer/{recipes.get('trainer', config.trainer)}.yaml")
    if config.search is not None:
        check_search(config.search, f"conf/tune/{recipes.get('tune', config.tune)}.yaml")


def _check_promote(rules: Promote, where: str) -> None:
    one_of(rules.metric, METRICS, where, "promote.metric")
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
        require(ok, where, f"promote.{key}", getattr(rules, key), rule)


def _check_score(rules: Score, where: str) -> None:
    share = rules.min_success_fraction
    require(0 <= share <= 1, where, "score.min_success_fraction", share, "from 0 to 1")
    one_of(rules.fallback, FALLBACKS, where, "score.fallback")
    one_of(rules.engine, ENGINES, where, "score.engine")
    one_of(rules.device, ("cpu", "cuda", "auto"), where, "score.device")
    one_of(rules.precision, ("32-true", "bf16-mixed"), where, "score.precision")
    workers = rules.workers
    require(workers is None or workers >= 1, where, "score.workers", workers, "1 or more, or null")
    require(rules.snapshots >= 1, where, "score.snapshots", rules.snapshots, "1 or more")


def check_mode(config: Config, modes: tuple[str, ...]) -> None:
    """Check what a command was asked to do; the first of its modes is what it does unless told otherwise.

    Raises:
        ConfigError: CHOICE, COMBINATION.
    """
    where = "the command line"
    if modes:
        config.mode = config.mode or modes[0]
        one_of(config.mode, modes, where, "mode")
    require(not config.mode or bool(modes), where, "mode", config.mode, "left out here")
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
    one_of(schedule.catchup, ("latest", "all", "none"), where, "schedule.catchup")
    one_of(schedule.overlap, ("skip", "queue"), where, "schedule.overlap")
    zone, window, cron = schedule.timezone, schedule.window, schedule.cron
    real = zone is None or crontab.is_zone(zone)
    require(real, where, "schedule.timezone", zone, "like Europe/Berlin, or null")
    spans = crontab.is_span(window)
    require(spans, where, "schedule.window", window, "a span above 0, like 12h or 1D")
    fault = None if cron is None else crontab.fault(cron)
    require(fault is None, where, "schedule.cron", cron, fault or "")
