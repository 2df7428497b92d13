"""From windows to batches: one vectorised gather from the panel, on the device where the panel lives.

A batch is a pure function of the windows, and the windows of a training step are a pure function of
(seed, epoch, step): a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatecast.config import Model
from gatecast.data import calendar
from gatecast.data.panel import FUTURE, PAST, Channel, Panel, PanelMeta
from gatecast.data.windows import Windows, gather, observed_between, rolling_origins, training_range
from gatecast.errors import TrainError
from gatecast.models.inputs import Batch, InputSpec, resolve_shape


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
    """Sizes of a model for this panel."""
    meta = panel.meta
    y = panel.values[:, 0][panel.observed & _training_rows(panel)]
    usual = int(np.median(panel.split_points[0]))
    near_zero = bool(len(y) and y.min() >= 0 and y.min() <= 0.05 * np.abs(y).mean())
    return InputSpec(
        horizon=meta.horizon,
        season_length=meta.season_length,
        **resolve_shape(model, meta.season_length, meta.horizon, meta.steps_per_day, usual),
        n_past=len(_numeric(meta.channels, PAST)),
        n_known=len(_numeric(meta.channels, FUTURE)),
        n_static=len(_numeric(meta.static, "static")),
        past_cards=_cards(meta.channels, PAST),
        known_cards=_cards(meta.channels, FUTURE),
        static_cards=_cards(meta.static, "static"),
        n_calendar=sum(calendar.WIDTH[name] for name in meta.calendar),
        nonnegative=near_zero,
    )


def _training_rows(panel: Panel) -> np.ndarray:
    """(T,) bool: rows before their series' training end."""
    row = np.arange(len(panel.values)) - np.repeat(panel.indptr[:-1], panel.lengths)
    return np.asarray(row < np.repeat(panel.split_points[0], panel.lengths))


def fit_scaling(panel: Panel) -> Scaling:
    """Measure covariates on the training span (every series up to its own training end)."""
    training = _training_rows(panel)

    def measure(column: np.ndarray) -> tuple[float, float]:
        known = column[np.isfinite(column)].astype(np.float64)
        if not len(known):
            return 0.0, 1.0
        return float(known.mean()), float(known.std()) or 1.0

    def columns(role: str) -> list[tuple[float, float]]:
        return [
            measure(np.asarray(panel.values[training, i]))
            for i in _numeric(panel.meta.channels, role)
        ]

    static = [measure(panel.static[:, i]) for i in _numeric(panel.meta.static, "static")]
    return Scaling(columns(PAST), columns(FUTURE), static)


class PanelFeed:
    """A panel on a device, ready to be cut into batches for a model.

    Args:
        panel: the data set.
        spec: sizes of the model.
        scaling: of the covariates.
        meta: the panel meta the model was trained with. Its channels must be the panel's; categories may differ,
            codes are translated and new categories become unknown.
        device: where the buffer and the batches live.

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
    ) -> None:
        _same_channels(panel.meta.channels, meta.channels)
        _same_channels(panel.meta.static, meta.static)
        self.panel, self.spec, self.device = panel, spec, torch.device(device)
        put = lambda a: torch.as_tensor(np.ascontiguousarray(a)).to(self.device)  # noqa: E731
        self.values = torch.from_numpy(np.asarray(panel.values)).to(self.device)
        self.observed = torch.from_numpy(np.asarray(panel.observed)).to(self.device)
        self.indptr, self.position = put(panel.indptr), put(panel.position)
        self.calendar = put(
            calendar.features(panel.axis, meta.calendar, meta.timezone, meta.holidays)
        )
        channels, static = meta.channels, meta.static
        self._past = _numeric(channels, PAST), put(_pairs(scaling.past)), _coded(channels, PAST)
        self._known = (
            _numeric(channels, FUTURE),
            put(_pairs(scaling.known)),
            _coded(channels, FUTURE),
        )
        self._translate = {
            i: put(_translation(panel.meta.channels[i], c))
            for i, c in enumerate(channels)
            if c.categories is not None
        }
        codes = [
            _translation(panel.meta.static[i], static[i])[panel.static[:, i].astype(np.int64)]
            for i in _coded(static, "static")
        ]
        self.static_codes = put(
            np.stack(codes, 1) if codes else np.zeros((panel.n_series, 0), np.int64)
        )
        self.static = _scaled(
            put(panel.static[:, _numeric(static, "static")]), put(_pairs(scaling.static))
        )
        self.offsets = torch.arange(-spec.lookback, spec.horizon, device=self.device)

    def batch(self, windows: Windows, limit: np.ndarray | None = None) -> Batch:
        """Cut a batch.

        Args:
            windows: B windows.
            limit: (B,) row of each series from which on the target is hidden (None: from the origin on).
        """
        put = lambda a: torch.as_tensor(a).to(self.device)  # noqa: E731
        series, origin = put(windows.series), put(windows.origin)
        begin, end = self.indptr[series], self.indptr[series + 1]
        start = begin + origin
        hidden = start if limit is None else begin + put(limit)
        rows, inside = gather(self.values, start, self.offsets, begin, end)  # (B, R + H, C)
        known_target, seen = gather(
            self.observed, start, self.offsets, begin, torch.minimum(end, hidden)
        )
        mask = (known_target & seen).to(torch.float32)
        target = torch.where(mask > 0, rows[..., 0], 0.0)
        stamps = (self.position[series] + origin)[:, None] + self.offsets
        of_calendar = self.calendar[stamps.clip(0, len(self.calendar) - 1)]
        past, past_codes = self._covariates(rows, inside, *self._past)
        known, known_codes = self._covariates(rows, inside, *self._known)
        return Batch(
            target,
            mask,
            past,
            torch.cat([known, of_calendar], -1),
            past_codes,
            known_codes,
            self.static[series],
            self.static_codes[series],
        )

    def _covariates(
        self, rows: Tensor, inside: Tensor, numeric: list[int], scaling: Tensor, coded: list[int]
    ) -> tuple[Tensor, Tensor]:
        numbers = _scaled(rows[..., numeric], scaling) * inside.unsqueeze(-1)
        codes = [self._translate[i][(rows[..., i].nan_to_num(0.0) * inside).long()] for i in coded]
        return numbers, torch.stack(codes, -1) if codes else rows.new_zeros(
            (*rows.shape[:2], 0), dtype=torch.int64
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


def _pairs(scaling: list[tuple[float, float]]) -> np.ndarray:
    return np.array(scaling, np.float32).reshape(-1, 2)


def _scaled(x: Tensor, scaling: Tensor, limit: float = 5.0) -> Tensor:
    """z-scores within ±limit; unknown becomes 0, the training mean."""
    return ((x - scaling[:, 0]) / scaling[:, 1]).clamp(-limit, limit).nan_to_num(0.0)


class TrainingWindows:
    """Random training windows: a series at random, an origin of it at random, never one without a known target.

    An origin has a whole window of history where its series allows it. Where a drawn origin has no known target,
    it is moved forward to the next that has one (or back to the last).

    Args:
        panel: the data set.
        spec: sizes of the model.
        batch_size: windows in a step.
        seed: of the draw.
        rank, world: of the windows of a step, this process takes ``[rank::world]``.

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
        self.mine = slice(rank, None, world)
        self.limit = panel.split_points[0]
        low, high = training_range(panel)
        begin = panel.indptr[:-1]
        last = (
            self._last_known(begin + self.limit) - begin
        )  # row of the last known target, below 0 if none
        self.low = np.minimum(np.maximum(low, spec.window), last).clip(1)
        self.high = np.minimum(high, last + 1)  # the last origin whose first target is known
        self.series = np.flatnonzero(self.high > self.low)
        self.horizon = spec.horizon
        if not len(self.series):
            raise TrainError(
                "NO-WINDOW",
                "no series has two values in the training span.",
                "Choose other `task.splits`, or bring more data.",
            )

    def _last_known(self, row: np.ndarray) -> np.ndarray:
        """Rows of the buffer of the last known targets before ``row`` (-1 if there is none at all)."""
        before = self.panel.known_before
        return np.searchsorted(before, before[row], side="left") - 1

    def draw(self, epoch: int, step: int) -> Windows:
        """The windows of a step, as a pure function of (seed, epoch, step)."""
        key = np.array([self.seed, (epoch << 32) + step], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        series = rng.choice(self.series, self.batch_size)
        origin = rng.integers(self.low[series], self.high[series])
        return Windows(series, self._move(series, origin))[self.mine]

    def _move(self, series: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Origins whose horizon holds no known target, moved to the next known target of their series."""
        p = self.panel
        begin = p.indptr[series]
        end = begin + np.minimum(origin + self.horizon, self.limit[series])
        useless = p.known_before[end] == p.known_before[begin + origin]
        following = (
            np.searchsorted(p.known_before, p.known_before[begin + origin], side="right") - 1
        )
        return np.where(useless, following - begin, origin)


def validation_windows(panel: Panel, most: int) -> Windows:
    """Rolling origins of the validation span, thinned evenly to at most ``most``.

    Raises:
        TrainError: NO-WINDOW if there are none.
    """
    windows = rolling_origins(panel, "validation")
    windows = windows[observed_between(panel, windows, -(10**9), 0)]
    if not len(windows):
        raise TrainError(
            "NO-WINDOW",
            "the validation span has no window.",
            "Choose other `task.splits` in the source recipe.",
        )
    return windows[:: max(1, -(-len(windows) // most))]


def batches(
    feed: PanelFeed, windows: Windows, limit: np.ndarray | None, size: int
) -> Iterator[Batch]:
    """Consecutive batches of the windows, with targets up to ``limit`` (per series) if it is given."""
    for begin in range(0, len(windows), size):
        part = windows[begin : begin + size]
        yield feed.batch(part, None if limit is None else limit[part.series])
