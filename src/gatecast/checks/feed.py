"""Checks of a source recipe."""

from __future__ import annotations

import re

from gatecast.checks.rules import finite, one_of, require
from gatecast.data.config import Feed


def check_feed(feed: Feed, where: str) -> None:
    named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", feed.name) is not None
    require(
        named and not feed.name.endswith("-event"),
        where,
        "file name",
        feed.name,
        "letters, digits, '_', '.' and '-' (it names the source), without '-event' at its end (models of events have)",
    )
    one_of(feed.kind, ("files", "demo"), where, "kind")
    one_of(feed.layout, ("long", "wide", "wide_rows"), where, "layout")
    one_of(feed.duplicates, ("error", "mean", "first", "last"), where, "duplicates")
    one_of(feed.bad_rows, ("error", "quarantine"), where, "bad_rows")
    one_of(feed.task.splits.by, ("time", "series_end"), where, "task.splits.by")
    require(feed.rows is None or feed.rows >= 1, where, "rows", feed.rows, "1 or more, or null")
    task = feed.task
    require(
        task.horizon >= 1, where, "task.horizon", task.horizon, "a whole number of steps from 1 up"
    )
    season = task.season_length
    require(
        season is None or season >= 1,
        where,
        "task.season_length",
        season,
        "1 (no season) or more, or null",
    )
    require(
        task.stride is None or task.stride >= 1,
        where,
        "task.stride",
        task.stride,
        "1 or more, or null",
    )
    for name in ("validation", "test"):
        value = getattr(task.splits, name)
        ok = value > 0 and (value < 1 or value == int(value))
        require(
            ok, where, f"task.splits.{name}", value, "a fraction below 1 or a whole number of steps"
        )
    check_event(task.event, where, "task.event")
    c = feed.covariates
    roles = c.static + c.past + c.future
    require(
        len(set(roles)) == len(roles), where, "covariates", roles, "without a column in two roles"
    )
    strays = sorted(set(c.categorical) - set(roles))
    require(
        not strays,
        where,
        "covariates.categorical",
        strays,
        "columns listed as static, past or future",
    )
    require(feed.target not in roles, where, "covariates", feed.target, "without the target column")
    if feed.kind == "demo":
        require(feed.demo.n_series >= 1, where, "demo.n_series", feed.demo.n_series, "1 or more")
        require(feed.demo.n_days >= 14, where, "demo.n_days", feed.demo.n_days, "14 or more")
        require(feed.known_at is None, where, "known_at", feed.known_at, "null for the demo")
        return
    require(bool(feed.files), where, "files", feed.files, "a list with at least one `path`")
    require(
        all(f.path for f in feed.files),
        where,
        "files",
        "an empty path",
        "a path, a glob or an address",
    )
    if feed.layout == "wide_rows":
        require(
            feed.id is not None, where, "id", feed.id, "the column that names the series of a row"
        )
        require(
            feed.start is not None,
            where,
            "start",
            feed.start,
            "the first time stamp (the rows have none)",
        )
    else:
        require(
            bool(feed.time),
            where,
            "time",
            feed.time,
            "a list of the column(s) that hold the time stamp",
        )
    require(
        feed.known_at is None or feed.layout == "long",
        where,
        "known_at",
        feed.known_at,
        "null for wide layouts: a long table has a row, and a time, for each value",
    )
    require(
        feed.known_at is None or feed.known_at not in (feed.id, feed.target, *feed.time, *roles),
        where,
        "known_at",
        feed.known_at,
        "a column of its own",
    )
    if feed.layout != "long":
        require(
            not roles,
            where,
            "covariates",
            roles,
            "empty for wide layouts: use a long table for covariates",
        )


def check_event(event: dict[str, float], where: str, key: str) -> None:
    limits = {str(side): value for side, value in event.items()}
    require(
        not limits
        or (
            len(limits) == 1
            and limits.keys() <= {"above", "below"}
            and all(map(finite, [*limits.values()]))
        ),
        where,
        key,
        limits,
        "one finite threshold: {above: …} or {below: …}",
    )
