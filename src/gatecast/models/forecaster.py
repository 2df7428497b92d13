"""The recurrent forecaster: normalisation x encoder x decoder x head.

Each encoder step sees the W rows that end at its origin, scaled by those rows alone; steps are S rows apart. The
decoder forecasts H steps from the state at an origin, so that one pass over a sequence trains K origins
("forking sequences" of MQ-RNN, Wen et al. 2017), and forecasting uses the last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatecast.models import normalisation
from gatecast.models.calibration import Calibrated
from gatecast.models.config import Recurrent
from gatecast.models.decoders import build_decoder
from gatecast.models.decoders.base import Origins
from gatecast.models.decoders.sequential import SequentialDecoder
from gatecast.models.encoders import RecurrentEncoder
from gatecast.models.events import limit
from gatecast.models.heads import HEADS
from gatecast.models.heads.event import EventHead
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.normalisation import Frame, from_space, normalise, to_space, widths

_PER_ROW = 4  # width of the projected covariates of one row of a patch
# a series that changes so much, relative to its level, weighs 1 whatever `relative_weight` is
_USUAL_CHANGE = 0.06


class Embeddings(nn.Module):
    """One small embedding per categorical channel; code 0 (unknown) is the zero vector."""

    def __init__(self, cards: list[int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            nn.Embedding(c, min(4, (c + 1) // 2), padding_idx=0) for c in cards
        )
        # a category that training never sees stays what an unknown one is
        for table in self.tables:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]
        self.width = sum(t.embedding_dim for t in self.tables)  # type: ignore[misc]

    def forward(self, codes: Tensor) -> Tensor:
        """(..., n) int64 -> (..., width)."""
        parts = [table(codes[..., i]) for i, table in enumerate(self.tables)]
        return (
            torch.cat(parts, -1)
            if parts
            else codes.new_zeros((*codes.shape[:-1], 0), dtype=torch.float32)
        )


class RecurrentForecaster(Calibrated):
    """See the module's docstring.

    Args:
        model: the recipe.
        spec: sizes resolved from the panel.
    """

    def __init__(self, model: Recurrent, spec: InputSpec) -> None:
        super().__init__(spec)
        self.past_codes, self.known_codes, self.static_codes = map(
            Embeddings, (spec.past_cards, spec.known_cards, spec.static_cards)
        )
        n_known = spec.n_known + spec.n_calendar + self.known_codes.width
        n_row = spec.n_past + self.past_codes.width + n_known
        self.row = nn.Linear(n_row, _PER_ROW) if n_row else None
        n_static = spec.n_static + self.static_codes.width
        n_step = widths(spec)[1] + spec.stride * (_PER_ROW if n_row else 0) + n_static
        self.encoder = RecurrentEncoder(model, n_step)
        head = HEADS[type(model.head)](model.head, spec)
        n_ahead = 2 * n_known + 1 if spec.event else n_known
        n_ahead += 2 + n_static
        self.decoder = build_decoder(
            model.decoder, head, spec, model.state_size, n_ahead, model.dropout
        )
        self.relative_weight = model.relative_weight

    def forward(self, batch: Batch, n_origins: int) -> tuple[Tensor, Frame]:
        """Forecast from the last ``n_origins`` origins of each sequence.

        Returns:
            (B, K, H, Q) quantiles in normalised units, and the frame of the K origins.
        """
        origins = self.origins(batch, n_origins)
        return self.decoder.quantiles(origins), origins.frame

    def origins(self, batch: Batch, n_origins: int) -> Origins:
        """Encode, and gather what is known at the last ``n_origins`` origins of each sequence."""
        s = self.spec
        past = batch.target[:, : s.lookback], batch.mask[:, : s.lookback]
        frame = normalisation.frame(*past, s, n_origins)
        static = torch.cat([batch.static, self.static_codes(batch.static_codes)], -1)
        known = torch.cat(
            [batch.known, self.known_codes(batch.known_codes)], -1
        )  # (B, R + H, n_known)
        features = [frame.inputs, static.unsqueeze(1).expand(-1, frame.inputs.shape[1], -1)]
        if self.row is not None:
            rows = torch.cat([batch.past, self.past_codes(batch.past_codes), known], -1)[
                :, : s.lookback
            ]
            projected = self.row(rows)[:, s.context_length - s.stride :]  # (B, T S, 4)
            features.append(projected.unflatten(1, (s.n_steps, s.stride)).flatten(2))
        decoder = self.decoder
        attends = isinstance(decoder, SequentialDecoder) and decoder.attention is not None
        wanted = None if attends else n_origins
        states = self.encoder(torch.cat(features, -1), wanted)  # (B, T or K, n_state)

        ahead = (
            known[:, s.lookback - (n_origins - 1) * s.stride :]
            .unfold(1, s.horizon, s.stride)[:, :n_origins]
            .transpose(2, 3)
        )
        lags = torch.stack(
            [_lag(frame.x, lag, s.horizon) for lag in (s.season_length, frame.x.shape[-1])], -1
        )  # (B, K, H, 2)
        step = torch.cat(
            [ahead, lags, static[:, None, None].expand(-1, n_origins, s.horizon, -1)], -1
        )
        if s.event:
            # what led up to a step decides as well, and where the threshold lies
            so_far = ahead.cumsum(2) / torch.arange(1, s.horizon + 1, device=ahead.device)[:, None]
            away = limit(s, frame).expand(-1, -1, s.horizon).unsqueeze(-1)
            step = torch.cat([step, so_far, away], -1)
        return Origins(states, step, frame)

    def loss(self, batch: Batch, n_origins: int | None = None) -> tuple[Tensor, Tensor]:
        """Loss of the head at the last ``n_origins`` origins (None: as many as the recipe says).

        Returns:
            Its sum over known targets, and their number.
        """
        s = self.spec
        n_origins = n_origins or s.n_origins
        if self.training and s.augment_sign:
            up = torch.randint(2, (len(batch.target), 1), device=batch.target.device)
            batch = batch._replace(target=batch.target * (2 * up - 1))
        origins = self.origins(batch, n_origins)
        frame = origins.frame
        head = self.decoder.head
        first = s.lookback - (n_origins - 1) * s.stride
        y, known = (
            v[:, first:].unfold(1, s.horizon, s.stride) for v in (batch.target, batch.mask)
        )  # (B, K, H)
        parameters = self.decoder(origins, self._truth(y, known, frame))
        contexts = batch.mask[:, : s.lookback].unfold(1, s.context_length, s.stride)
        seen = contexts[:, -n_origins:].any(-1, True)
        target, scored = head.target(y, known, frame)
        count = scored * seen
        weight = count * (1 + self.relative_weight * frame.relative)
        weight = weight / (1 + _USUAL_CHANGE * self.relative_weight)
        if s.volume:
            magnitude = _magnitude(batch.target, batch.mask, s.lookback)
            weight = weight * magnitude[:, None, None] / s.volume
        # bfloat16 knows no .975
        loss = head.loss(parameters.to(y.dtype), target)
        return (loss * weight).sum(), count.sum()

    def _truth(self, y: Tensor, known: Tensor, frame: Frame) -> Tensor | None:
        """(B, K, H) normalised targets, NaN where unknown, for a decoder whose steps read them."""
        if not self.decoder.reads_targets:
            return None
        z = normalise(to_space(y, self.spec), known, frame.base, frame.unit)
        return z.masked_fill(known == 0, torch.nan)

    def raw_quantiles(self, batch: Batch) -> Tensor:
        """(B, H, Q) forecast from the last origin before calibration, in units of the target."""
        quantiles, frame = self(batch, 1)
        base, unit = frame.base[:, 0, :, None], frame.unit[:, 0, :, None]
        rising = quantiles[:, 0].cummax(-1).values  # rounding may have crossed what lies closest
        return from_space(rising * unit + base, self.spec)

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H) probability, seen from the last origin, that the event has happened by each step."""
        head = self.decoder.head
        assert isinstance(head, EventHead)
        return head.by_step(self.decoder(self.origins(batch, 1)))[:, 0]


def _magnitude(target: Tensor, mask: Tensor, rows: int) -> Tensor:
    """(B,) mean magnitude of what is known in the first ``rows`` rows, 0 where nothing is."""
    known = mask[:, :rows]
    return (target[:, :rows].abs() * known).sum(1) / known.sum(1).clamp_min(1)


def _lag(x: Tensor, lag: int, horizon: int) -> Tensor:
    """(B, K, W) -> (B, K, H): for each step the newest row of the window that lies a multiple of ``lag`` before it."""
    step = torch.arange(horizon, device=x.device)
    return x[..., x.shape[-1] - lag + step % lag]
