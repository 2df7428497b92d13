"""A trained net as a predictor: batches of windows in, quantiles or probabilities out, without Lightning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import QUANTILES, EventForecast, Forecast, QuantileForecast, Task
from gatecast.data.panel import Panel, PanelMeta
from gatecast.data.windows import Windows
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import at_once
from gatecast.feed.scaling import Scaling
from gatecast.models.inputs import InputSpec

# times as many windows in a batch on a GPU as fit a processor's cache
_WIDER = 16


class NetPredictor:
    """A net as a :class:`gatecast.core.forecast.Predictor`, by its ``quantiles`` or, of an event, ``probabilities``.

    Args:
        name: of the variant.
        net: the trained net.
        spec: its sizes.
        scaling: of its covariates.
        meta: meta of the panel it was trained on.
    """

    def __init__(
        self, name: str, net: nn.Module, spec: InputSpec, scaling: Scaling, meta: PanelMeta
    ) -> None:
        self.name = name
        self.net = net.eval()
        self.spec = spec
        self.scaling = scaling
        self.meta = meta
        self.horizon = spec.horizon
        self.task: Task = "event" if spec.event else "quantile"
        self._fed: tuple[Panel, PanelFeed] | None = None
        self.device = torch.device("cpu")
        self.precision = "32-true"

    def on(self, device: str, precision: str = "32-true") -> NetPredictor:
        """This predictor, which from now on computes on a device (``cpu``, ``cuda``) and in a precision.

        ``bf16-mixed`` multiplies matrices in bfloat16 and computes everything else in float32.
        """
        self.device = torch.device(device)
        self.precision = precision
        self._fed = None
        self.net.to(self.device)
        return self

    def predict(self, panel: Panel, windows: Windows) -> Forecast:
        """Forecast windows of a panel that has the channels the net was trained on.

        Raises:
            EvaluationError: NOT-COMPARABLE if frequency, horizon or time zone differ.
            TrainError: CHANNELS if the channels differ.
        """
        m = panel.meta
        if (m.frequency, m.horizon, m.timezone) != (
            self.meta.frequency,
            self.horizon,
            self.meta.timezone,
        ):
            raise EvaluationError(
                "NOT-COMPARABLE",
                f"{self.name} forecasts {self.horizon} steps of {self.meta.frequency} (zone {self.meta.timezone}),"
                f" the panel asks for {m.horizon} of {m.frequency} (zone {m.timezone}).",
                "Train it again for this task.",
            )
        feed, shape = self._feed(panel), (len(windows), self.horizon)
        if self.task == "event":
            probability = np.empty(shape, np.float32)
            self._fill(probability, self.net.probabilities, feed, windows)
            return EventForecast(probability, windows, self.spec.event)
        values = np.empty((*shape, len(QUANTILES)), np.float32)
        self._fill(values, self.net.quantiles, feed, windows)
        return QuantileForecast(values, windows)

    def _fill(self, out: np.ndarray, answer: Any, feed: PanelFeed, windows: Windows) -> None:
        """Write what a method of the net returns for each batch into the rows of ``out``."""
        size = at_once(self.horizon) * (1 if self.device.type == "cpu" else _WIDER)
        reduced = self.precision == "bf16-mixed"
        device = self.device.type
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=reduced):
            for begin in range(0, len(windows), size):
                batch = feed.batch(windows[begin : begin + size])
                out[begin : begin + size] = answer(batch).float().cpu().numpy()

    def _feed(self, panel: Panel) -> PanelFeed:
        """The feed of a panel; that of the last panel is kept, since batches of it follow each other."""
        if self._fed is None or self._fed[0] is not panel:
            self._fed = panel, PanelFeed(panel, self.spec, self.scaling, self.meta, self.device)
        return self._fed[1]
