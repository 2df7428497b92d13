"""The embedded demo feed: hourly demand of some sites, with everything that happens to real feeds.

Deterministic and prefix-stable: the value of a series at a time never depends on where the feed ends, so that
``as_of=`` plays tomorrow today. Daily and weekly seasons, temperature known ahead, promotions, holidays,
level shifts, gaps, exact duplicates, intermittent series, series that begin late and series that die.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data.config import Demo, DemoFeed, SourceRecipe
from gatecast.data.stamps import instant

VERSION = 2
AHEAD = 7 * 24  # hours for which weather, promotions and holidays are known
START = pd.Timestamp("2025-01-01 00:00")
HOLIDAYS = (
    "2025-01-01",
    "2025-01-06",
    "2025-03-08",
    "2025-04-18",
    "2025-04-21",
    "2025-05-01",
    "2025-12-25",
    "2025-12-26",
)
REGIONS = ("north", "south", "east", "west")
# sparse: intermittent counts
KINDS = ("office", "shop", "home", "sparse")
_SEED = 20250101


class DemoSource:
    """The demo as a :class:`gatecast.data.sources.base.Source`."""

    recipe: ClassVar[type[SourceRecipe]] = DemoFeed

    def __init__(self, feed: DemoFeed) -> None:
        self.demo = feed.demo

    def read(self, as_of: str | None = None) -> pd.DataFrame:
        return generate(self.demo, as_of)

    def read_actuals(self) -> pd.DataFrame | None:
        return None

    def fingerprint(self) -> list[dict[str, Any]]:
        return [{"name": "demo", "version": VERSION, "end": str(end(self.demo))}]

    def unseen(self) -> list[str]:
        return []


def end(demo: Demo) -> pd.Timestamp:
    """Last stamp of the feed when no ``as_of`` is given."""
    return START + pd.Timedelta(hours=24 * demo.n_days - 1)


def generate(demo: Demo, as_of: str | None = None, ahead: int = AHEAD) -> pd.DataFrame:
    """Generate the feed as it would have been delivered at ``as_of``.

    Args:
        demo: number of series, days of history (when ``as_of`` is None).
        as_of: last stamp with a value.
        ahead: hours of known covariates after it.

    Returns:
        Long table as from :func:`gatecast.data.sources.read`.

    Raises:
        IngestError: AS-OF if the time lies before the demo begins.
    """
    last = instant(as_of) if as_of else end(demo)
    hours = int((last - START) // pd.Timedelta(hours=1)) + 1
    if hours < 24:
        raise IngestError(
            "AS-OF",
            f"the demo begins at {START}; as_of={as_of} leaves nothing.",
            "Choose a later time.",
        )
    total = hours + ahead
    ds = pd.date_range(START, periods=total, freq="h").as_unit("us")
    n = demo.n_series
    series = np.arange(n)
    kind, region = _kind(series), series % len(REGIONS)
    temperature = _temperature(ds)
    promotion = _promotion(total, n, kind)
    holiday = np.asarray(ds.normalize().isin(pd.DatetimeIndex(HOLIDAYS))).astype(float)
    y = _values(ds, demo, kind, temperature[:, region], promotion, holiday)
    y[hours:] = np.nan

    t, s = np.nonzero(_delivered(total, hours, demo))
    order = np.lexsort((t, s))
    t, s = t[order], s[order]
    table = pd.DataFrame(
        {
            "unique_id": pd.Series(
                np.array([f"site_{i:03d}" for i in series], dtype=object)[s], dtype="str"
            ),
            "ds": ds[t],
            "y": y[t, s],
            "region": pd.Series(np.array(REGIONS, dtype=object)[region[s]], dtype="str"),
            "kind": pd.Series(np.array(KINDS, dtype=object)[kind[s]], dtype="str"),
            "temperature": temperature[t, region[s]].round(2),
            "promotion": promotion[t, s],
            "holiday": holiday[t],
        }
    )
    twice = table.iloc[np.flatnonzero((s * 7919 + t) % 9973 == 17)]  # exact duplicates
    table = pd.concat([table, twice], ignore_index=True)
    return table.assign(line=np.arange(len(table)) + 1, file=pd.Categorical(["demo"] * len(table)))


def _rng(stream: int) -> np.random.Generator:
    return np.random.default_rng([_SEED, stream])


def _kind(series: np.ndarray) -> np.ndarray:
    """Mostly office, shop and home; every twelfth series is sparse."""
    return np.where(series % 12 == 11, 3, series % 3)


def _autoregression(noise: np.ndarray, memory: float) -> np.ndarray:
    """(T, n) AR(1) with unit variance; row t depends on rows up to t only."""
    out = np.empty_like(noise)
    state = noise[0]
    for t in range(len(noise)):
        state = memory * state + np.sqrt(1 - memory**2) * noise[t] if t else noise[0]
        out[t] = state
    return out


def _temperature(ds: pd.DatetimeIndex) -> np.ndarray:
    """(T, regions) degrees Celsius."""
    hour, day = np.asarray(ds.hour), np.asarray((ds - START) / pd.Timedelta(days=1))
    weather = _autoregression(_rng(1).standard_normal((len(ds), len(REGIONS))), 0.985)
    season = 6 - 9 * np.cos(2 * np.pi * (day + 10) / 365.25)
    daily = 3.5 * np.sin(2 * np.pi * (hour - 9) / 24)
    return (season + daily)[:, None] + 4.5 * weather + np.array([-3.0, 3.0, 0.0, 1.0])


def _promotion(total: int, n: int, kind: np.ndarray) -> np.ndarray:
    """(T, n) 1 on the days of a promotion; shops only, about one day in twelve, in runs of three days."""
    days = -(-total // 24)
    runs = _rng(2).random((days // 3 + 1, n)) < 1 / 12
    daily = np.repeat(runs, 3, 0)[:days]
    return np.repeat(daily, 24, 0)[:total] * (kind == 1).astype(float)


def _profiles(kind: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(24, n) shape of a day and (7, n) shape of a week, positive, mean about one."""
    hour = np.arange(24)[:, None]
    bump = lambda centre, width: np.exp(-0.5 * (((hour - centre + 12) % 24 - 12) / width) ** 2)  # noqa: E731
    rng = _rng(3)
    shift = rng.normal(0, 0.7, n)
    office = 0.35 + 1.5 * bump(11 + shift, 3.5) + 0.6 * bump(15.5 + shift, 2.0)
    shop = 0.25 + 1.0 * bump(12 + shift, 2.5) + 1.4 * bump(18 + shift, 2.0)
    home = 0.55 + 0.8 * bump(7.5 + shift, 1.5) + 1.2 * bump(20 + shift, 2.5)
    day = np.choose(kind, [office, shop, home, shop])
    week = np.ones((7, n))
    week[5:] = np.choose(kind, [0.35, 1.35, 1.15, 1.1])
    week[4] *= np.choose(kind, [0.9, 1.15, 1.0, 1.0])
    week *= np.exp(rng.normal(0, 0.05, (7, n)))
    return day / day.mean(0), week


def _values(
    ds: pd.DatetimeIndex,
    demo: Demo,
    kind: np.ndarray,
    temperature: np.ndarray,
    promotion: np.ndarray,
    holiday: np.ndarray,
) -> np.ndarray:
    """(T, n) demand."""
    n, total = len(kind), len(ds)
    hour, weekday = np.asarray(ds.hour), np.asarray(ds.dayofweek)
    rng = _rng(4)
    level = np.exp(rng.normal(4.0, 1.0, n))
    trend = rng.normal(0, 0.0012, n)
    shift_at, shift_by = (
        rng.uniform(0.15, 0.9, n) * demo.n_days * 24,
        np.exp(rng.normal(0, 0.35, n)),
    )
    shift_by = np.where(np.arange(n) % 9 == 4, shift_by, 1.0)
    heating = rng.uniform(0.01, 0.03, n) * np.choose(kind, [1, 0.3, 1, 0])
    day, week = _profiles(kind, n)

    hours = np.arange(total)[:, None]
    closed = np.choose(kind, [0.35, 0.5, 1.1, 0.6])
    mean = level * day[hour] * week[weekday] * np.exp(trend * hours / 24)
    mean = mean * np.where(hours >= shift_at, shift_by, 1.0)
    mean = mean * (1 + heating * np.maximum(16 - temperature, 0)) * (1 + 0.6 * promotion)
    mean = mean * np.where(holiday[:, None] > 0, closed, 1.0)
    slow = _autoregression(_rng(5).standard_normal((total, n)), 0.97)
    fast = _rng(6).standard_normal((total, n))
    dense = np.round(mean * np.exp(0.06 * slow + 0.05 * fast), 2)
    # Counts by inverting one uniform draw: a Poisson sampler would draw a varying number and lose prefix stability.
    rate = 0.25 * mean / level
    uniform = _rng(7).random((total, n))
    counts = (uniform > np.exp(-rate)).astype(float) + (uniform > np.exp(-rate) * (1 + rate)) * 2.0
    return np.where(kind == 3, counts, dense)


def _delivered(total: int, hours: int, demo: Demo) -> np.ndarray:
    """(T, n) whether a row arrives: no row in gaps, before a late start, after a death."""
    n, whole = demo.n_series, 24 * demo.n_days
    arrived = np.ones((total, n), bool)
    t = np.arange(total)
    rng = _rng(8)
    for i in range(n):
        starts, lengths = rng.integers(0, whole, 3), rng.integers(4, 60, 3)
        late, dead = (rng.uniform(0.4, 0.6) * whole, rng.uniform(0.55, 0.7) * whole)
        if i % 8 == 5:
            for a, b in zip(starts, starts + lengths, strict=True):
                arrived[a:b, i] = False
        if i % 33 == 7:
            arrived[t < late, i] = False
        if i % 97 == 10:
            arrived[t >= dead, i] = False
    lost = _rng(9).random((total, n)) < 0.0004
    arrived &= ~lost
    arrived[hours:] = ~(np.arange(n) % 97 == 10)  # known covariates of the living, ahead of time
    return arrived
