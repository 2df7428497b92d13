"""From windows to batches: one vectorised gather from the panel, on the device where the panel lives.

A batch is a pure function of the windows, and the windows of a training step are a pure function of
(seed, epoch, step): a resumed run sees what an uninterrupted one would have seen, and each of several processes
its share of what one would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatecast.config import Model, members
from gatecast.data import calendar
from gatecast.data.panel import FUTURE, PAST, Channel, Panel, PanelMeta
from gatecast.data.windows import (
    Windows,
    gather,
    last_known,
    next_known,
    rolling_origins,
    training_rows,
)
from gatecast.errors import ConfigError, TrainError
from gatecast.models.inputs import Batch, InputSpec, resolve_shape
from gatecast.models.normalisation import widths

_LIMIT = 5.0  # spreads from the mean beyond which a covariate is not believed


@dataclass(frozen=True)
class Scaling:
    """Mean and spread of every numeric covariate over the training span, in the order of the channels."""

    past: list[tuple[float, float]]
    known: list[tuple[float, float]]
    static: list[tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Scaling:
        return cls(**{k: [(float(a), float(b)) for a, b in v] for k, v in content.items()})


def _numeric(channels: list[Channel], role: str) -> list[int]:
    return [i for i, c in enumerate(channels) if c.role == role and c.categories is None]


def _coded(channels: list[Channel], role: str) -> list[int]:
    return [i for i, c in enumerate(channels) if c.role == role and c.categories is not None]


def _cards(channels: list[Channel], role: str) -> list[int]:
    return [len(channels[i].categories or []) + 1 for i in _coded(channels, role)]


def input_spec(panel: Panel, model: Model) -> InputSpec:
    """Sizes of a model for this panel.

    A member of an ensemble that mixes linear maps has no place where one map has more weights than there are values
    to train on (unless no other has).

    Raises:
        TrainError: COUNTS if the recipe takes targets for counts, and one of them is negative.
        ConfigError: EVENT if it forecasts an event, and neither it nor the source says which.
    """
    targets = _Targets.of(panel)
    if model.kind != "ensemble":
        return _input_spec(panel, model, targets)
    recipes = members(model)
    specs = [_input_spec(panel, member, targets) for member in recipes]
    fits = [
        (member.kind, member.decoder) != ("recurrent", "experts")
        or spec.horizon * widths(spec)[0] <= targets.known
        for member, spec in zip(recipes, specs, strict=True)
    ]
    placed = [spec if fit or not any(fits) else None for spec, fit in zip(specs, fits, strict=True)]
    longest = max((spec for spec in placed if spec), key=lambda spec: spec.lookback)
    return replace(longest, members=placed)  # an event is the same in all


def _input_spec(panel: Panel, model: Model, targets: _Targets) -> InputSpec:
    meta = panel.meta
    usual = int(np.median(panel.split_points[0]))
    least, mean = targets.least, targets.mean
    if model.head == "negative_binomial" and least < 0:
        raise TrainError(
            "COUNTS",
            f"`head: negative_binomial` forecasts counts, but a training value is {least:g}.",
            "Choose `head: normal` or `student`, and `normalisation: level`.",
        )
    if model.normalisation == "auto":
        model = replace(model, normalisation="seasonal" if _stays_positive(panel) else "level")
    event = (model.event or meta.event) if model.head == "event" else {}
    if model.head == "event" and not event:
        raise ConfigError(
            "EVENT",
            f"the recipe has `head: event`, but source '{meta.source}' does not say which event.",
            f"Write `event: {{above: …}}` (or `below`) under `task` in conf/source/{meta.source}.yaml"
            " and run `dvc repro`, or `event` into the recipe in conf/model/.",
        )
    shape = resolve_shape(model, meta.season_length, meta.horizon, meta.steps_per_day, usual)
    kind = shape["normalisation"]
    if kind == "log" and least < 0:
        raise TrainError(
            "NEGATIVE",
            f"`normalisation: log` is for what is never negative, but a training value is {least:g}.",
            "Choose `normalisation: level`, or `auto`.",
        )
    shift = 0.01 * mean if kind == "log" else 0.0
    logs = kind in ("log", "seasonal") and 0 < least + shift < np.inf
    return InputSpec(
        horizon=meta.horizon,
        season_length=meta.season_length,
        **shape,
        n_past=len(_numeric(meta.channels, PAST)),
        n_known=len(_numeric(meta.channels, FUTURE)),
        n_static=len(_numeric(meta.static, "static")),
        past_cards=_cards(meta.channels, PAST),
        known_cards=_cards(meta.channels, FUTURE),
        static_cards=_cards(meta.static, "static"),
        n_calendar=sum(calendar.WIDTH[name] for name in meta.calendar),
        nonnegative=0 <= least <= 0.05 * mean,
        log_floor=(least + shift) / 2 if logs else 0.0,
        log_shift=shift,
        volume=targets.magnitude if model.weigh == "volume" else 0.0,
        mirror=model.mirror == "auto" and not event and _symmetric(panel, targets),
        event=dict(event),
    )


class _Targets(NamedTuple):
    """Of the training targets: the smallest (infinite if none), mean, mean magnitude, number, share below zero."""

    least: float
    mean: float
    magnitude: float
    known: int
    below: float

    @classmethod
    def of(cls, panel: Panel) -> _Targets:
        least, total, size, count, below = np.inf, 0.0, 0.0, 0, 0
        for rows, training in training_rows(panel):
            y = panel.values[rows, 0][training & panel.observed[rows]]
            least = min(least, float(y.min(initial=np.inf)))
            total, count = total + float(y.sum(dtype=np.float64)), count + len(y)
            size += float(np.abs(y).sum(dtype=np.float64))
            below += int((y < 0).sum())
        n = max(count, 1)
        return cls(least, total / n, size / n, count, below / n)


def _symmetric(panel: Panel, targets: _Targets) -> bool:
    """Whether up may be down: enough targets lie below zero, and nothing measured goes with them."""
    return targets.below >= 0.05 and len(panel.meta.channels) == 1


def _stays_positive(panel: Panel, most: int = 1000) -> bool:
    """Whether in a typical series no training value is below a fifth of their mean: changes are then relative.

    Looks at ``most`` series, evenly spread.
    """
    chosen = np.linspace(0, panel.n_series - 1, min(most, panel.n_series)).astype(np.int64)
    begin, end = panel.indptr[chosen], panel.indptr[chosen] + panel.split_points[0][chosen]
    parts = (panel.values[a:b, 0][panel.observed[a:b]] for a, b in zip(begin, end, strict=True))
    lowest = [max(float(y.min()), 0.0) / (abs(float(y.mean())) or 1.0) for y in parts if len(y)]
    return bool(lowest) and float(np.median(lowest)) >= 0.2


class _Moments:
    """Mean and spread of numbers that come in parts (Chan, Golub & LeVeque 1979, equation 2.1)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, column: np.ndarray) -> None:
        """Take in the finite numbers of a column."""
        x = column[np.isfinite(column)].astype(np.float64)
        if not len(x):
            return
        mean, total = float(x.mean()), self.count + len(x)
        away = mean - self.mean
        self.squares += float(np.square(x - mean).sum()) + away**2 * self.count * (len(x) / total)
        self.mean += away * (len(x) / total)
        self.count = total

    @property
    def scaling(self) -> tuple[float, float]:
        """Mean and spread; (0, 1) without numbers, spread 1 if they are all the same."""
        return self.mean, sqrt(self.squares / max(self.count, 1)) or 1.0


def fit_scaling(panel: Panel) -> Scaling:
    """Measure covariates on the training span (every series up to its own training end)."""
    channels = panel.meta.channels
    moments = {i: _Moments() for role in (PAST, FUTURE) for i in _numeric(channels, role)}
    for rows, training in training_rows(panel) if moments else ():
        values = panel.values[rows][training]
        for i, column in moments.items():
            column.add(values[:, i])
    of_static = {i: _Moments() for i in _numeric(panel.meta.static, "static")}
    for i, column in of_static.items():
        column.add(panel.static[:, i])
    past, known = ([moments[i].scaling for i in _numeric(channels, r)] for r in (PAST, FUTURE))
    return Scaling(past, known, [column.scaling for column in of_static.values()])


def home_of(device: torch.device, size: int, free: int | None = None) -> torch.device:
    """Where the buffers of a feed live: on the device if they fit in half of its free memory, else on the CPU.

    Args:
        device: where the batches are used.
        size: bytes of the buffers.
        free: bytes free on the device; None: ask it (a device that cannot say is taken to have room).
    """
    if free is None:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2 * size
    return device if size <= free // 2 else torch.device("cpu")


class PanelFeed:
    """A panel ready to be cut into batches for a model.

    The buffers are gathered from where they live, their ``home``. That is the device, if they fit in half of its
    free memory; a larger panel stays on the CPU, and what is sent to the device is the batches. On the CPU the
    home is the panel's memory map itself: nothing is copied.

    Args:
        panel: the data set.
        spec: sizes of the model.
        scaling: of the covariates.
        meta: the panel meta the model was trained with. Its channels must be the panel's; categories may differ,
            codes are translated and new categories become unknown.
        device: where the batches are used.
        free: bytes free on the device; None: ask it.

    Raises:
        TrainError: CHANNELS if the panel lacks a channel that the model reads.
    """

    def __init__(
        self,
        panel: Panel,
        spec: InputSpec,
        scaling: Scaling,
        meta: PanelMeta,
        device: torch.device | str = "cpu",
        free: int | None = None,
    ) -> None:
        _same_channels(panel.meta.channels, meta.channels)
        _same_channels(panel.meta.static, meta.static)
        of_calendar = calendar.features(panel.axis, meta.calendar, meta.timezone, meta.holidays)
        position = panel.position.copy()  # torch takes nothing that is read-only
        buffers = [panel.values, panel.indptr, position, panel.static]
        self.spec, self.device = spec, torch.device(device)
        size = sum(a.nbytes for a in (*buffers, of_calendar))
        self.home = home_of(self.device, size, free)
        self.values, self.indptr, self.position, self.static, self.calendar = (
            torch.from_numpy(np.asarray(a)).to(self.home) for a in (*buffers, of_calendar)
        )
        self._past, self._known, self._static = (
            _Columns(have, want, role, pairs, self.home)
            for have, want, role, pairs in (
                (panel.meta.channels, meta.channels, PAST, scaling.past),
                (panel.meta.channels, meta.channels, FUTURE, scaling.known),
                (panel.meta.static, meta.static, "static", scaling.static),
            )
        )
        self.offsets = torch.arange(-spec.lookback, spec.horizon, device=self.home)

    def batch(self, windows: Windows, limit: np.ndarray | None = None) -> Batch:
        """Cut a batch.

        Args:
            windows: B windows.
            limit: (B,) row of each series from which on the target is hidden (None: from the origin on).
        """
        put = lambda a: torch.as_tensor(a).to(self.home)  # noqa: E731
        series, origin = put(windows.series), put(windows.origin)
        begin, end = self.indptr[series], self.indptr[series + 1]
        start = begin + origin
        rows, inside = gather(self.values, start, self.offsets, begin, end)
        rows = rows.where(inside.unsqueeze(-1), torch.nan)  # (B, R + H, C)
        seen = origin.new_zeros(len(origin)) if limit is None else put(limit) - origin
        known_target = (self.offsets < seen[:, None]) & ~rows[..., 0].isnan()
        target = rows[..., 0].where(known_target, 0.0)
        mask = known_target.to(torch.float32)
        stamps = (self.position[series] + origin)[:, None] + self.offsets
        of_calendar = self.calendar[stamps.clip(0, len(self.calendar) - 1)]
        past, past_codes = self._past(rows)
        known, known_codes = self._known(rows)
        static, static_codes = self._static(self.static[series])
        known = torch.cat([known, of_calendar], -1) if known.shape[-1] else of_calendar
        parts = target, mask, past, known, past_codes, known_codes, static, static_codes
        return Batch(*(part.to(self.device) for part in parts))


class _Columns:
    """Columns of one role as the model reads them: z-scores of numbers, the model's codes of categories."""

    def __init__(
        self,
        have: list[Channel],
        want: list[Channel],
        role: str,
        scaling: list[tuple[float, float]],
        home: torch.device,
    ) -> None:
        self.numeric, self.coded = _numeric(want, role), _coded(want, role)
        pairs = torch.tensor(scaling, dtype=torch.float32, device=home).reshape(-1, 2)
        self.mean, self.spread = pairs.T
        self.codes = [torch.from_numpy(_translation(have[i], want[i])).to(home) for i in self.coded]

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(..., C) raw -> (..., numbers) within ±5 spreads, and (..., categories) int64; 0 where unknown."""
        numbers = (rows[..., self.numeric] - self.mean) / self.spread
        codes = [
            table[rows[..., i].nan_to_num(0.0).long()]
            for i, table in zip(self.coded, self.codes, strict=True)
        ]
        none = rows.new_zeros((*rows.shape[:-1], 0), dtype=torch.int64)
        return (
            numbers.clamp(-_LIMIT, _LIMIT).nan_to_num(0.0),
            torch.stack(codes, -1) if codes else none,
        )


def _same_channels(have: list[Channel], want: list[Channel]) -> None:
    a, b = ([(c.name, c.role, c.categories is None) for c in side] for side in (have, want))
    if a != b:
        raise TrainError(
            "CHANNELS",
            f"the model reads the columns {[x[:2] for x in b]}, but the panel has {[x[:2] for x in a]}.",
            "Use the source recipe it was trained with, or train again.",
        )


def _translation(have: Channel, want: Channel) -> np.ndarray:
    """(codes of the panel,) int64: the model's code of each; 0 for what it has never seen."""
    index = {name: k + 1 for k, name in enumerate(want.categories or [])}
    return np.array([0] + [index.get(name, 0) for name in have.categories or []], np.int64)


class TrainingWindows:
    """Random training windows: a series at random, an origin of it at random, never one without a known target.

    An origin has a whole window of history where its series allows it. Where a drawn origin has no known target,
    it is moved forward to the next that has one.

    Args:
        panel: the data set.
        spec: sizes of the model.
        batch_size: windows in a step, of all processes together.
        seed: of the draw.
        rank, world: which of how many processes this is. Each takes every ``world``-th window of the same draw.

    Raises:
        TrainError: NO-WINDOW if no series has a known target after its first value in the training span.
    """

    def __init__(
        self,
        panel: Panel,
        spec: InputSpec,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.panel, self.batch_size, self.seed = panel, batch_size, seed
        self.rank, self.world = rank, world
        self.limit = panel.split_points[0]
        begin = panel.indptr[:-1]
        last = last_known(panel.observed, begin, begin + self.limit) - begin  # -1 if there is none
        self.low = np.minimum(spec.window, last).clip(1)
        self.high = last + 1  # the last origin whose first target is known
        self.series = np.flatnonzero(self.high > self.low)
        self.horizon = spec.horizon
        if not len(self.series):
            raise TrainError(
                "NO-WINDOW",
                "no series has two values in the training span.",
                "Choose other `task.splits`, or bring more data.",
            )

    def draw(self, epoch: int, step: int) -> Windows:
        """This process' windows of a step, as a pure function of (seed, epoch, step)."""
        key = np.array([self.seed, (epoch << 32) + step], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        series = rng.choice(self.series, self.batch_size)
        origin = rng.integers(self.low[series], self.high[series])
        return self._moved(Windows(series, origin)[self.rank :: self.world])

    def _moved(self, windows: Windows) -> Windows:
        """Origins whose horizon holds no known target, moved to the next known target of their series."""
        series, origin = windows.series, windows.origin
        begin = self.panel.indptr[series]
        known = next_known(self.panel.observed, begin + origin, begin + self.high[series]) - begin
        return Windows(series, np.where(known < origin + self.horizon, origin, known))


def all_training_windows(panel: Panel, spec: InputSpec, most: int) -> Windows:
    """Every training window, by series and origin, thinned to about ``most``: one at random of every so many.

    Every so manieth itself would see some hours of the day and never the others.

    Raises:
        TrainError: NO-WINDOW as for :class:`TrainingWindows`.
    """
    of = TrainingWindows(panel, spec, 1, 0)
    count = (of.high - of.low).clip(0)
    total = np.cumsum(count)
    step = max(1, -(-int(total[-1]) // most))
    number = np.arange(0, total[-1], step)
    number = (number + np.random.default_rng(0).integers(0, step, len(number))).clip(
        max=total[-1] - 1
    )
    series = np.searchsorted(total, number, side="right")
    return Windows(series, of.low[series] + number - total[series] + count[series])


def validation_windows(panel: Panel, most: int, event: bool = False) -> Windows:
    """Rolling origins of the validation span, as far apart as the test's (of an event: all), at most ``most``.

    Raises:
        TrainError: NO-WINDOW if there are none.
    """
    windows = rolling_origins(panel, "validation", 1 if event else None, most)
    if not len(windows):
        raise TrainError(
            "NO-WINDOW",
            "the validation span has no window.",
            "Choose other `task.splits` in the source recipe.",
        )
    return windows


def at_once(horizon: int) -> int:
    """Windows to forecast in a batch: what they need should stay in the processor's cache."""
    return min(max(24_576 // horizon, 32), 1024)


def batches(
    feed: PanelFeed, windows: Windows, limit: np.ndarray | None, size: int
) -> Iterator[Batch]:
    """Consecutive batches of the windows, with targets up to ``limit`` (per series) if it is given."""
    for begin in range(0, len(windows), size):
        part = windows[begin : begin + size]
        yield feed.batch(part, None if limit is None else limit[part.series])
