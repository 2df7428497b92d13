"""The time axis of a panel and what the calendar says about each of its stamps.

A panel has one regular axis; series start somewhere on it. Calendar features are a small table with one row
per stamp of the axis, looked up at gather and never stored.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError

MAX_AXIS = 50_000_000


def offset(frequency: str | None, hint: str = "") -> pd.tseries.offsets.BaseOffset:
    """The pandas offset of a frequency alias.

    Raises:
        IngestError: FREQ-UNDECLARED if it is missing, FREQ-UNKNOWN if pandas does not know it.
    """
    if not frequency:
        raise IngestError(
            "FREQ-UNDECLARED",
            f"the source recipe declares no frequency.{hint}",
            "Add `frequency:` to the recipe: a pandas alias such as 15min, h, D, W-MON, MS, QS or YS.",
        )
    try:
        step = pd.tseries.frequencies.to_offset(frequency)
    except ValueError as error:
        raise IngestError(
            "FREQ-UNKNOWN",
            f"`frequency: {frequency}` is no pandas frequency alias ({error}).",
            "Use one such as 15min, h, D, W-MON, MS, QS or YS.",
        ) from None
    if step.n < 1:
        raise IngestError(
            "FREQ-UNKNOWN",
            f"`frequency: {frequency}` does not run forward.",
            "Use a positive frequency.",
        )
    return step


def is_subdaily(frequency: str) -> bool:
    """Whether a step is shorter than a day."""
    step = offset(frequency)
    return isinstance(step, pd.tseries.offsets.Tick) and pd.Timedelta(step) < pd.Timedelta(days=1)


def steps_per_day(frequency: str) -> int | None:
    """Steps in a day for sub-daily frequencies that divide it, else None."""
    if not is_subdaily(frequency):
        return None
    day, step = pd.Timedelta(days=1), pd.Timedelta(offset(frequency))
    return int(day // step) if day % step == pd.Timedelta(0) else None


def usual_season(frequency: str) -> int:
    """Steps in the season that a feed of this frequency usually has: a day below a day, a week of days, else a year."""
    step = offset(frequency)
    if is_subdaily(frequency):
        return steps_per_day(frequency) or 1
    name, n = step.name.split("-")[0], step.n
    year = {"D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4, "BMS": 12, "BME": 12}
    whole = year.get(name.lstrip("0123456789"), 1)
    return whole // n if whole % n == 0 else 1


def make_axis(
    first: pd.Timestamp, last: pd.Timestamp, frequency: str, n_stamps: int | None = None
) -> pd.DatetimeIndex:
    """Every stamp from ``first`` to ``last``.

    Args:
        first, last: both on the grid.
        frequency: a pandas alias.
        n_stamps: how many different stamps a feed has; an axis very much longer than that is refused.

    Raises:
        IngestError: TIME-SPAN for an axis of over 50 million stamps, or a thousand times longer than the feed.
    """
    step = offset(frequency)
    some = first + 8 * step
    length = (last - first) / ((some - first) / 8)
    if length > MAX_AXIS or (n_stamps and length > 10_000 + 1000 * n_stamps):
        raise IngestError(
            "TIME-SPAN",
            f"the feed spans {first} to {last}: {length:,.0f} steps of {frequency}.",
            "Look for a wrong date in the feed, or declare a coarser `frequency`.",
        )
    return pd.date_range(first, last, freq=step).as_unit("us")


def choose(frequency: str, n_stamps: int, holidays: str | None, regular: bool = True) -> list[str]:
    """Names of the calendar features that a model of this frequency can learn from so many stamps of training.

    The day of the year needs two years: in one year season and growth cannot be told apart.
    ``regular`` false leaves only the holidays: the clock of the feed means nothing.
    """
    step = offset(frequency)
    tick = isinstance(step, pd.tseries.offsets.Tick)
    length = (
        pd.Timedelta(step)
        if tick
        else (step + pd.Timestamp("2001-01-01")) - pd.Timestamp("2001-01-01")
    )
    names = []
    if is_subdaily(frequency):
        names.append("time_of_day")
    if length <= pd.Timedelta(days=1) or step.name.startswith("B"):
        names.append("day_of_week")
    if n_stamps * length >= pd.Timedelta(days=728) and length < pd.Timedelta(days=300):
        names.append("day_of_year")
    if holidays and length <= pd.Timedelta(days=1):
        names.append("holiday")
    return names if regular else [name for name in names if name == "holiday"]


def _harmonics(phase: np.ndarray, count: int) -> Iterable[np.ndarray]:
    return (f(2 * np.pi * k * phase) for k in range(1, count + 1) for f in (np.sin, np.cos))


WIDTH = {"time_of_day": 6, "day_of_week": 7, "day_of_year": 4, "holiday": 1}


def features(
    axis: pd.DatetimeIndex, names: list[str], timezone: str | None, holidays: str | None
) -> np.ndarray:
    """Calendar features of every stamp.

    Args:
        axis: (N,) stamps; UTC where ``timezone`` is given, else local.
        names: from :func:`choose`.
        timezone: zone in which the clock and the days are read.
        holidays: country code of the public holidays.

    Returns:
        (N, F) float32 with F the sum of ``WIDTH`` over the names.
    """
    local = axis.tz_localize("UTC").tz_convert(timezone).tz_localize(None) if timezone else axis
    table = np.empty((len(axis), sum(WIDTH[name] for name in names)), np.float32)
    columns = (column for name in names for column in _columns(local, name, holidays))
    # one at a time: an axis may be long
    for k, column in enumerate(columns):
        table[:, k] = column
    return table


def _columns(local: pd.DatetimeIndex, name: str, holidays: str | None) -> Iterable[np.ndarray]:
    """The columns, (N,) each, of one feature."""
    if name == "time_of_day":
        return _harmonics(np.asarray((local - local.normalize()) / pd.Timedelta(days=1)), 3)
    if name == "day_of_week":
        weekday = np.asarray(local.dayofweek)
        return (weekday == day for day in range(7))
    if name == "day_of_year":
        return _harmonics(np.asarray(local.dayofyear) / 365.25, 2)
    return [_is_holiday(local, holidays)]


def check_country(code: str) -> None:
    """Raise IngestError[HOLIDAYS] unless the holidays library knows the country."""
    import holidays

    if code not in holidays.list_supported_countries():
        raise IngestError(
            "HOLIDAYS",
            f"`holidays: {code}` is no country of the holidays library.",
            "Use a two-letter country code such as US, DE or CN, or null.",
        )


def _is_holiday(local: pd.DatetimeIndex, code: str | None) -> np.ndarray:
    import holidays

    years = range(int(local.year.min()), int(local.year.max()) + 1)
    days = pd.DatetimeIndex(sorted(holidays.country_holidays(str(code), years=years)))
    return np.asarray(local.normalize().isin(days))
