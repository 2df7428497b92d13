"""Which windows a model is trained, validated and calibrated on, and batches of them.

The windows of a training step are a pure function of (seed, epoch, step): a resumed run sees what an uninterrupted one
would have seen, and each of several processes its share of what one would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gatecast.core.errors import TrainError
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, last_known, next_known, rolling_origins

if TYPE_CHECKING:
    from gatecast.feed.panel_feed import PanelFeed
    from gatecast.models.inputs import Batch, InputSpec


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
        self.low = np.minimum(spec.context_length, last).clip(1)
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

    Taking every k-th window would see only some hours of the day.

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
