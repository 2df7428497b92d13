"""Decoders: from the states of the encoder at an origin to the parameters of a head, for every step of the horizon.

    direct          a hidden layer per step, and a linear skip of the look-back
    experts         linear maps of the look-back, mixed per step by a gate from the state
    segment         the horizon in patches, each one recurrent step from the same state
    seq2seq         one recurrent step per step of the horizon, fed its own median
    autoregressive  the same, fed what it samples: trajectories

To add one: a file with its settings (a :class:`~gatecast.core.schema.Schema` with its ``name``) and its
:class:`~gatecast.models.decoders.base.Decoder`, and a line in both tables below.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gatecast.models.decoders.autoregressive import Autoregressive, AutoregressiveDecoder
from gatecast.models.decoders.base import Decoder
from gatecast.models.decoders.direct import Direct, DirectDecoder
from gatecast.models.decoders.experts import Experts, ExpertsDecoder
from gatecast.models.decoders.segment import Segment, SegmentDecoder
from gatecast.models.decoders.seq2seq import Seq2Seq, Seq2SeqDecoder
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec

DecoderSettings = Annotated[
    Direct | Experts | Seq2Seq | Autoregressive | Segment, Field(discriminator="name")
]
DECODERS: dict[type[Any], Any] = {
    Direct: DirectDecoder,
    Experts: ExpertsDecoder,
    Seq2Seq: Seq2SeqDecoder,
    Autoregressive: AutoregressiveDecoder,
    Segment: SegmentDecoder,
}


def build_decoder(
    settings: Any, head: Head, spec: InputSpec, n_state: int, n_step: int, dropout: float
) -> Decoder:
    """Build the untrained decoder of a recipe.

    Args:
        settings: of the decoder.
        head: makes parameters of what is decoded.
        spec: sizes of the model.
        n_state: width of the encoder's state.
        n_step: features of a step of the horizon.
        dropout: of the decoder's hidden layers.
    """
    decoder: Decoder = DECODERS[type(settings)](settings, head, spec, n_state, n_step, dropout)
    return decoder
