"""Checks of trainer and tuning recipes."""

from __future__ import annotations

from gatecast.checks.rules import one_of, require, typed
from gatecast.training.config import PRECISIONS, Fit
from gatecast.tuning.config import Range, Search


def check_fit(fit: Fit, where: str) -> None:
    for key in (
        "max_epochs",
        "steps_per_epoch",
        "batch_size",
        "patience",
        "max_validation_windows",
        "log_every",
    ):
        require(getattr(fit, key) >= 1, where, key, getattr(fit, key), "1 or more")
    one_of(fit.precision, PRECISIONS, where, "precision")
    devices = fit.devices
    require(devices >= 1 or devices == -1, where, "devices", devices, "1 or more, or -1 (all)")
    require(
        devices <= fit.batch_size,
        where,
        "devices",
        devices,
        f"at most `batch_size` ({fit.batch_size}): devices share a batch",
    )
    require(fit.gradient_clip >= 0, where, "gradient_clip", fit.gradient_clip, "0 (off) or more")
    require(fit.learning_rate > 0, where, "learning_rate", fit.learning_rate, "above 0")
    require(fit.weight_decay >= 0, where, "weight_decay", fit.weight_decay, "0 or more")
    require(0 <= fit.averaging < 1, where, "averaging", fit.averaging, "from 0 up to 1")
    require(
        fit.threads is None or fit.threads >= 1, where, "threads", fit.threads, "1 or more, or null"
    )


def check_search(search: Search, where: str) -> None:
    require(search.trials >= 1, where, "trials", search.trials, "1 or more")
    minutes = search.minutes
    require(minutes is None or minutes > 0, where, "minutes", minutes, "above 0, or null")
    require(bool(search.space), where, "space", search.space, "of at least one setting")
    for name, given in search.space.items():
        if not isinstance(given, Range):
            require(
                isinstance(given, dict),
                where,
                f"space.{name}",
                given,
                "`low` and `high`, or `choices`",
            )
            given = Range(**typed(given, f"{where}, `space.{name}`", Range))
        search.space[name] = r = given
        if r.choices:
            continue
        key, ends = f"space.{name}", (r.low, r.high)
        numbers = all(type(end) in (int, float) for end in ends)
        require(numbers, where, key, ends, "two numbers, `low` and `high`, or a list of `choices`")
        require(r.low < r.high, where, f"{key}.low", r.low, f"below `high` ({r.high})")
        require(not r.log or r.low > 0, where, f"{key}.low", r.low, "above 0 for `log`")
