"""What a model recipe may say: typed settings, one class for each kind of model.

Recipes and packages hold them flat (:func:`flat`); :func:`gatecast.models.recipe.read_model` alone makes models of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic.fields import FieldInfo

from gatecast.core.schema import Schema, refuse, require
from gatecast.core.threshold import Threshold
from gatecast.models.cells import CELLS
from gatecast.models.cells.base import ACTIVATIONS
from gatecast.models.choices import one_of
from gatecast.models.decoders import DECODERS, DecoderSettings
from gatecast.models.decoders.autoregressive import Autoregressive
from gatecast.models.decoders.direct import Direct
from gatecast.models.decoders.seq2seq import Seq2Seq
from gatecast.models.heads import HEADS, HeadSettings, is_distribution
from gatecast.models.heads.event import Event
from gatecast.models.heads.negative_binomial import NegativeBinomial
from gatecast.models.heads.quantile import Quantile


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _layer_sizes(value: Any) -> Any:
    """Refuse what is neither a size nor a list of sizes."""
    sizes = value if isinstance(value, list) else [value]
    if not sizes or not all(map(_is_size, sizes)):
        raise ValueError("1 or more, or a list of such, one per layer")
    return value


def _positive(penalties: list[float]) -> list[float]:
    if not penalties or min(penalties) <= 0:
        raise ValueError("a list of penalties above 0")
    return penalties


Activation = Annotated[str, one_of(ACTIVATIONS)]
Share = Annotated[float, Field(ge=0, lt=1)]
Penalties = Annotated[list[float], AfterValidator(_positive)]
Normalisation = Literal["level", "log", "seasonal", "mean", "auto"]


class _Window(Schema):
    """How many rows a step sees."""

    context_length: int | None = Field(None, ge=1)
    """Rows that one encoder step sees; null: resolved from season and horizon."""

    context_multiple: float = Field(1.0, gt=0)
    """Times the rows that `context_length: null` resolves to."""


class Recurrent(_Window):
    """Settings of a recurrent net. ``null`` means: resolved from the panel (see :mod:`gatecast.models.shape`)."""

    kind: Literal["recurrent"] = "recurrent"
    """A net trained by gradient descent."""

    cell: Annotated[str, one_of(CELLS)] = "lstm"
    """The recurrent cell."""

    hidden_size: Annotated[int | list[int], BeforeValidator(_layer_sizes)] = 64
    """Width of the recurrent layers; a list: of each layer in turn."""

    n_layers: int = Field(1, ge=1)
    """Recurrent layers, where `hidden_size` is one number."""

    dropout: Share = 0.2
    """Of the projected inputs and between layers; a mask per step."""

    activation: Activation = "tanh"
    """Of a cell's candidate and output."""

    recurrent_activation: Activation = "sigmoid"
    """Of a cell's gates."""

    input_dropout: Share = 0.0
    """Of what a recurrent layer reads; one mask per sequence."""

    recurrent_dropout: Share = 0.0
    """Of the state that a cell reads; one mask per sequence."""

    layer_norm: bool = False
    """Normalise inside the cells."""

    bidirectional: bool = False
    """Read each look-back backwards, too: a state twice as wide, and slower."""

    residual: bool = False
    """Each recurrent layer adds to what it reads."""

    dilations: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """Steps that a state reaches back, by layer; empty: 1."""

    stride: int | None = Field(None, ge=1)
    """Rows between two encoder steps; null: a season, at most 96."""

    n_steps: int = Field(14, ge=1)
    """Encoder steps in a sequence."""

    n_origins: int = Field(7, ge=1)
    """Last steps of a training sequence that forecast, and are scored."""

    encoder_input: Literal["context", "patch"] = "context"
    """What a step reads: its whole context, or its newest `stride` rows only."""

    input_projection: bool = True
    """A layer between a step's inputs and the recurrent one."""

    normalisation: Normalisation = "level"
    """How an origin is scaled; auto: seasonal where values stay well above 0, else level."""

    augment_sign: Literal["auto", "never"] = "auto"
    """auto: train on sequences turned upside down, too, where many targets are below 0."""

    relative_weight: float = Field(0.0, ge=0)
    """How much more an error counts where a series changes more, relative to its level."""

    series_weight: Literal["equal", "volume"] = "equal"
    """Whether series count alike, or by their mean magnitude."""

    decoder: DecoderSettings = Field(default_factory=Direct)
    """How the horizon is decoded from the state."""

    head: HeadSettings = Field(default_factory=lambda: Quantile())
    """What is forecast of each step."""

    @property
    def layer_sizes(self) -> list[int]:
        """Width of each recurrent layer, in one direction."""
        size = self.hidden_size
        return list(size) if isinstance(size, list) else [size] * self.n_layers

    @property
    def state_size(self) -> int:
        """Width of the state that a decoder reads."""
        return self.layer_sizes[-1] * (2 if self.bidirectional else 1)

    @property
    def forecasts_event(self) -> bool:
        """Whether the forecast is the probability of an event, not quantiles of the target."""
        return isinstance(self.head, Event)

    @property
    def event(self) -> dict[str, float]:
        """The event that the recipe names, if any."""
        return self.head.event if isinstance(self.head, Event) else {}

    @model_validator(mode="after")
    def _layers_agree(self) -> Recurrent:
        n = len(self.layer_sizes)
        require(
            not isinstance(self.hidden_size, list) or self.n_layers in (1, n),
            "n_layers",
            self.n_layers,
            f"left out, or {n}: `hidden_size` lists the layers",
        )
        require(
            not self.dilations or len(self.dilations) == n,
            "dilations",
            self.dilations,
            f"empty, or a list of {n} numbers of steps, one per layer",
        )
        require(
            self.n_origins <= self.n_steps,
            "n_origins",
            self.n_origins,
            f"at most `n_steps` ({self.n_steps})",
        )
        return self

    @model_validator(mode="after")
    def _cell_has_the_options(self) -> Recurrent:
        for option in CELLS[self.cell].cell_type.without:
            value = getattr(self, option)
            usual = type(self).model_fields[option].default
            rule = f"left out for `cell: {self.cell}`, whose equations have none"
            require(value == usual, option, value, rule)
        return self

    @model_validator(mode="after")
    def _parts_go_together(self) -> Recurrent:
        head = self.head.name
        if isinstance(self.decoder, Autoregressive) and not is_distribution(self.head):
            names = ", ".join(_name(s) for s in HEADS if is_distribution(s()))
            what = (
                "`decoder: autoregressive` samples from a distribution:"
                f" `head` is {head}, but must be one of {names}."
            )
            raise refuse("COMBINATION", what)
        if isinstance(self.head, Event) and isinstance(self.decoder, Seq2Seq):
            what = (
                "`head: event` has no value to hand from step to step, as `decoder: seq2seq` does."
            )
            raise refuse("COMBINATION", what)
        if isinstance(self.head, NegativeBinomial) != (self.normalisation == "mean"):
            what = (
                "`head: negative_binomial` and `normalisation: mean` need each other; there are"
                f" `head: {head}` and `normalisation: {self.normalisation}`."
            )
            raise refuse("COMBINATION", what)
        return self


class Linear(_Window):
    """Settings of the closed form: one ridge regression for all series."""

    kind: Literal["linear"]
    """Ridge regression of the horizon on the look-back."""

    normalisation: Literal["level", "log", "seasonal", "auto"] = "level"
    """How an origin is scaled; auto: seasonal where values stay well above 0, else level."""

    penalties: Penalties = Field(default_factory=lambda: [0.001, 0.01, 0.1, 1.0, 10.0])
    """Ridge penalties that are tried on the validation span."""

    forecasts_event: ClassVar[bool] = False
    event: ClassVar[dict[str, float]] = {}


class Logistic(_Window):
    """Settings of the logistic regression of an event."""

    kind: Literal["logistic"]
    """Logistic regression of an event on the look-back."""

    event: Threshold = Field(default_factory=dict)
    """The event, `{above: …}` or `{below: …}` in units of the target; empty: the source's."""

    penalties: Penalties = Field(default_factory=lambda: [0.001, 0.01, 0.1, 1.0, 10.0])
    """Ridge penalties that are tried on the validation span, a hundredth of each."""

    forecasts_event: ClassVar[bool] = True
    normalisation: ClassVar[str] = "level"


Single: TypeAlias = Recurrent | Linear | Logistic


class Member(Schema):
    """A recipe in an ensemble."""

    model: Annotated[Single, Field(discriminator="kind")]
    """The recipe."""

    n_seeds: int = Field(1, ge=1)
    """How many times it is trained, each with a seed of its own; their mean counts as one."""


class Ensemble(Schema):
    """Settings of an ensemble: the mean of its members."""

    kind: Literal["ensemble"]
    """The mean of several recipes."""

    members: list[Member] = Field(min_length=1)
    """The recipes."""

    @property
    def recipes(self) -> list[Single]:
        """The recipes of all members, as often as each has seeds."""
        return [member.model for member in self.members for _ in range(member.n_seeds)]

    @property
    def forecasts_event(self) -> bool:
        """Whether the forecast is the probability of an event, not quantiles of the target."""
        return self.members[0].model.forecasts_event

    @property
    def event(self) -> dict[str, float]:
        """The event that the recipe names, if any."""
        return self.members[0].model.event

    @model_validator(mode="after")
    def _one_forecast(self) -> Ensemble:
        answers = [(m.model.forecasts_event, m.model.event) for m in self.members]
        if any(answer != answers[0] for answer in answers):
            what = (
                "a member forecasts an event that another does not:"
                " write `head: event` beside `members`, and `event` too if it is not the source's."
            )
            raise refuse("COMBINATION", what)
        return self


Model: TypeAlias = Single | Ensemble

SINGLE: dict[str, type[Recurrent] | type[Linear] | type[Logistic]] = {
    "recurrent": Recurrent,
    "linear": Linear,
    "logistic": Logistic,
}
KINDS = (*SINGLE, "ensemble")
OF_ENSEMBLES = ("members", "n_seeds")


def _name(settings: type[BaseModel]) -> str:
    return str(get_args(settings.model_fields["name"].annotation)[0])


_DECODERS = {_name(settings): settings for settings in DECODERS}
_HEADS = {_name(settings): settings for settings in HEADS}
PARTS = {"decoder": _DECODERS, "head": _HEADS}


def own_fields(settings: type[BaseModel]) -> dict[str, FieldInfo]:
    return {key: field for key, field in settings.model_fields.items() if key != "name"}


def fields(kind: str, decoder: str = "direct", head: str = "quantile") -> dict[str, FieldInfo]:
    """The settings that a recipe of this kind, decoder and head has, as they stand in its file."""
    own = dict(SINGLE[kind].model_fields)
    if kind == "recurrent":
        own |= own_fields(_DECODERS[decoder]) | own_fields(_HEADS[head])
    return own


def all_fields(kind: str = "recurrent") -> dict[str, FieldInfo]:
    """The settings that recipes of this kind may have, whichever their decoder and head."""
    own = dict(SINGLE[kind].model_fields)
    if kind == "recurrent":
        for settings in (*_DECODERS.values(), *_HEADS.values()):
            own = own_fields(settings) | own
    return own


def flat(model: Model) -> dict[str, Any]:
    """A model as a recipe has it, every setting written out."""
    if isinstance(model, Ensemble):
        members = [flat(m.model) | {"n_seeds": m.n_seeds} for m in model.members]
        return {"kind": "ensemble", "members": members}
    out: dict[str, Any] = {}
    for key, value in model.model_dump().items():
        if key in PARTS:
            out |= {key: value.pop("name"), **value}
        else:
            out[key] = value
    return out


def applicable(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe, ``ensemble`` excepted, that its own kind, decoder and head have."""
    kind = content.get("kind", "recurrent")
    chosen = [content.get("decoder", "direct"), content.get("head", "quantile")]
    known = fields(kind, *chosen)
    return {key: value for key, value in content.items() if key in known}
