"""A panel ready to be cut into batches: one vectorised gather, on the device where the panel lives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gatecast.core.errors import TrainError
from gatecast.data import calendar
from gatecast.data.panel import (
    FUTURE,
    PAST,
    STATIC,
    Channel,
    Panel,
    PanelMeta,
    absent,
    coded,
    numeric,
)
from gatecast.data.windows import Windows, gather
from gatecast.feed.scaling import Scaling
from gatecast.models.inputs import Batch, InputSpec

# spreads from the mean at which covariates are clipped
_LIMIT = 5.0


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
        meta: the panel meta the model was trained with. The panel has its channels, and may have others; categories
            may differ, codes are translated and new categories become unknown.
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
        pairs = (panel.meta.channels, meta.channels), (panel.meta.static, meta.static)
        if lost := [column for have, want in pairs for column in absent(have, want)]:
            raise TrainError(
                "CHANNELS",
                "the model reads columns that the panel lacks, or has of another type:"
                f" {', '.join(map(str, lost))}.",
                "Name them in the source recipe, or train again.",
            )
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
            _Columns(have, want, role, scales, self.home)
            for have, want, role, scales in (
                (panel.meta.channels, meta.channels, PAST, scaling.past),
                (panel.meta.channels, meta.channels, FUTURE, scaling.known),
                (panel.meta.static, meta.static, STATIC, scaling.static),
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
    """Columns of one role as the model reads them: z-scores of numbers, the model's codes of categories.

    Whether a column is known ahead is for the model to say, not for the panel: both have the same values of it.
    """

    def __init__(
        self,
        have: list[Channel],
        want: list[Channel],
        role: str,
        scaling: list[tuple[float, float]],
        home: torch.device,
    ) -> None:
        at = {column.key: i for i, column in enumerate(have)}
        categorical = [want[i] for i in coded(want, role)]
        self.numeric = [at[want[i].key] for i in numeric(want, role)]
        self.coded = [at[column.key] for column in categorical]
        pairs = torch.tensor(scaling, dtype=torch.float32, device=home).reshape(-1, 2)
        self.mean, self.spread = pairs.T
        self.codes = [
            torch.from_numpy(_translation(have[i], column)).to(home)
            for i, column in zip(self.coded, categorical, strict=True)
        ]

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


def _translation(have: Channel, want: Channel) -> np.ndarray:
    """(codes of the panel,) int64: the model's code of each; 0 for what it has never seen."""
    index = {name: k + 1 for k, name in enumerate(want.categories or [])}
    return np.array([0] + [index.get(name, 0) for name in have.categories or []], np.int64)
