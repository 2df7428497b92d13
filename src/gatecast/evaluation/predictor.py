"""A trained net as a predictor: batches of windows in, quantiles or probabilities out, without Lightning."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import Forecast
from gatecast.data.panel import Panel, PanelMeta
from gatecast.data.windows import Windows
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import at_once
from gatecast.feed.scaling import Scaling
from gatecast.models.inputs import InputSpec

_WIDER = 16  # times as many windows in a batch as keep a processor's cache: a GPU wants many


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
        self.name, self.net, self.spec, self.scaling, self.meta = (
            name,
            net.eval(),
            spec,
            scaling,
            meta,
        )
        self.horizon = spec.horizon
        self._fed: tuple[Panel, PanelFeed] | None = None
        self.device, self.precision = torch.device("cpu"), "32-true"

    def on(self, device: str, precision: str = "32-true") -> NetPredictor:
        """This predictor, which from now on computes on a device (``cpu``, ``cuda``) and in a precision.

        ``bf16-mixed`` multiplies matrices in bfloat16, and does the rest as ever.
        """
        self.device, self.precision, self._fed = torch.device(device), precision, None
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
        feed = self._feed(panel)
        event = bool(self.spec.event)
        answer = self.net.probabilities if event else self.net.quantiles
        out = np.empty((len(windows), self.horizon, 1 if event else len(m.quantiles)), np.float32)
        size = at_once(self.horizon) * (1 if self.device.type == "cpu" else _WIDER)
        reduced = self.precision == "bf16-mixed"
        kind = self.device.type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=reduced):
            for begin in range(0, len(windows), size):
                batch = feed.batch(windows[begin : begin + size])
                found = answer(batch).float().cpu().numpy()  # type: ignore[operator]
                out[begin : begin + size] = found[..., None] if event else found
        return Forecast(out, windows, (0.5,), "event") if event else Forecast(out, windows)

    def _feed(self, panel: Panel) -> PanelFeed:
        """The feed of a panel; that of the last one is kept, for it is asked for again and again."""
        if self._fed is None or self._fed[0] is not panel:
            self._fed = panel, PanelFeed(panel, self.spec, self.scaling, self.meta, self.device)
        return self._fed[1]
