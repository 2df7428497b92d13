"""What a model recipe says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

KINDS = ("recurrent", "linear", "logistic", "ensemble")


CELLS = ("rnn", "lstm", "gru")


ACTIVATIONS = (
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
    "linear",
)


DECODERS = ("direct", "experts", "seq2seq", "autoregressive", "segment")


DECODER_CELLS = ("rnn", "lstm", "gru")


ATTENTIONS = ("none", "additive", "dot")


HEADS = ("quantile", "point", "normal", "student", "negative_binomial", "event")


DISTRIBUTIONS = ("normal", "student", "negative_binomial")


LOSSES = ("mae", "mse", "huber")


@dataclass
class Model:
    """A model recipe. ``null`` means: resolved from the panel's season length and horizon (see ``models.inputs``).

    An ensemble's members are recipes too: what a member leaves out stands beside ``members``.
    """

    kind: str = "recurrent"  # recurrent | linear | logistic | ensemble
    cell: str = "lstm"  # rnn | lstm | gru
    units: Any = 64  # width of the recurrent layers; a list: of each layer in turn
    layers: int = 1  # where `units` is one number
    dropout: float = 0.2  # of the projected inputs and between layers, a mask a step
    activation: str = "tanh"  # of a cell's candidate and output
    recurrent_activation: str = "sigmoid"  # of a cell's gates
    input_dropout: float = 0.0  # of what a recurrent layer reads, one mask a sequence
    recurrent_dropout: float = 0.0  # of the state that a cell reads, one mask a sequence
    layer_norm: bool = False  # inside the cells
    bidirectional: bool = False  # also from each origin back; twice `units` wide, and slower
    residual: bool = False  # each recurrent layer adds to what it reads
    dilations: list[int] = field(default_factory=list)  # steps a state reaches back, by layer
    window: int | None = None  # rows one encoder step sees
    wider: float = 1.0  # times the rows that `window: null` resolves to
    segment: int | None = None  # rows between two encoder steps
    steps: int = 14  # encoder steps in a sequence
    forks: int = 7  # last steps of a training sequence that forecast (and are scored)
    reads: str = (
        "window"  # what a step reads of its window: window | segment (its newest rows only)
    )
    project: bool = True  # a layer between a step's inputs and the recurrent one
    normalisation: str = (
        "level"  # level | seasonal | mean | auto: seasonal where values stay well above 0
    )
    mirror: str = "auto"  # auto: train upside down, too, where many targets are below 0 | never
    decoder: str = "direct"  # direct | experts | seq2seq | autoregressive | segment
    skip: str = "trained"  # all but experts: the linear skip of the look-back is trained | fixed
    experts: int = 8  # experts: linear maps that the gate mixes
    decoder_cell: str = "gru"  # seq2seq, autoregressive, segment: rnn | lstm | gru
    attention: str = "none"  # seq2seq: none | additive | dot, over the states up to the origin
    teacher_forcing: float = 0.0  # seq2seq: share of training batches that are shown true values
    paths: int = 100  # autoregressive: trajectories that are sampled
    pieces: int = 4  # segment: parts of the horizon, each decoded by one step
    head: str = "quantile"  # quantile | point | normal | student | negative_binomial | event
    loss: str = "mae"  # point: mae | mse | huber
    event: dict[str, float] = field(default_factory=dict)  # event: as in Task; empty: the source's
    event_weight: float = 1.0  # event: how much more a step counts by which it has happened
    emphasis: float = (
        0.0  # how much more an error counts where a series changes more, relative to its level
    )
    weigh: str = "equal"  # series count alike: equal | by their mean magnitude: volume
    spread_weight: float = 1.0  # of every other quantile level, beside the median's 1
    ridge: list[float] = field(
        default_factory=lambda: [0.001, 0.01, 0.1, 1.0, 10.0]
    )  # linear: penalties tried; logistic: a hundredth of each
    members: list[dict[str, Any]] = field(default_factory=list)  # ensemble: what each changes
    seeds: int = 1  # how many times a member of an ensemble is trained, each with a seed of its own

    @property
    def layer_units(self) -> list[int]:
        """Width of each recurrent layer, in one direction."""
        return list(self.units) if isinstance(self.units, list) else [self.units] * self.layers

    @property
    def state_units(self) -> int:
        """Width of the state that a decoder reads."""
        return self.layer_units[-1] * (2 if self.bidirectional else 1)


def members(model: Model) -> list[Model]:
    """The recipes of an ensemble's members, as often as each has seeds."""
    shared = replace(model, kind="recurrent", members=[], seeds=1)
    return [
        replace(shared, **{**changes, "seeds": 1})
        for changes in model.members
        for _ in range(changes.get("seeds", model.seeds))
    ]
