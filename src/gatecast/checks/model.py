"""Checks of model, trainer and tuning recipes."""

from __future__ import annotations

from dataclasses import fields

from gatecast.checks.feed import check_event
from gatecast.checks.rules import one_of, require, typed
from gatecast.core.errors import ConfigError
from gatecast.models.config import (
    ACTIVATIONS,
    ATTENTIONS,
    CELLS,
    DECODER_CELLS,
    DECODERS,
    DISTRIBUTIONS,
    HEADS,
    KINDS,
    LOSSES,
    Model,
    members,
)
from gatecast.training.config import PRECISIONS, Fit
from gatecast.tuning.config import Range, Search


def check_model(model: Model, where: str) -> None:
    one_of(model.kind, KINDS, where, "kind")
    require(
        bool(model.members) == (model.kind == "ensemble"),
        where,
        "members",
        model.members,
        "a list of at least one member for `kind: ensemble`, and empty for every other kind",
    )
    for k, changes in enumerate(model.members):
        here = f"{where}, member {k + 1}"
        for key in sorted(set(changes) - {f.name for f in fields(Model)}):
            one_of(key, tuple(f.name for f in fields(Model)), here, "setting")
        model.members[k] = changes = typed(changes, here)
        one_of(changes.get("kind", "recurrent"), KINDS[:3], here, "kind")
        require(changes.get("seeds", 1) >= 1, here, "seeds", changes.get("seeds"), "1 or more")
    for member in members(model):
        check_model(member, f"{where}, a member")
        if (member.head == "event", member.event) != (model.head == "event", model.event):
            raise ConfigError(
                "COMBINATION",
                f"{where}: a member forecasts an event that is not the ensemble's, or no event.",
                "Write `head: event` beside `members`, and `event` too if it is not the source's.",
            )
    one_of(model.cell, CELLS, where, "cell")
    one_of(model.reads, ("window", "segment"), where, "reads")
    one_of(
        model.normalisation, ("level", "log", "seasonal", "mean", "auto"), where, "normalisation"
    )
    one_of(model.mirror, ("auto", "never"), where, "mirror")
    one_of(model.decoder, DECODERS, where, "decoder")
    one_of(model.skip, ("trained", "fixed"), where, "skip")
    one_of(model.weigh, ("equal", "volume"), where, "weigh")
    one_of(model.decoder_cell, DECODER_CELLS, where, "decoder_cell")
    one_of(model.attention, ATTENTIONS, where, "attention")
    one_of(model.head, HEADS, where, "head")
    one_of(model.loss, LOSSES, where, "loss")
    _check_combination(model, where)
    for key in (*("layers", "steps", "forks", "experts", "seeds", "paths", "pieces"),):
        require(getattr(model, key) >= 1, where, key, getattr(model, key), "1 or more")
    _check_layers(model, where)
    for key in ("window", "segment"):
        value = getattr(model, key)
        require(value is None or value >= 1, where, key, value, "1 or more, or null")
    require(
        model.forks <= model.steps, where, "forks", model.forks, f"at most `steps` ({model.steps})"
    )
    forcing = model.teacher_forcing
    require(0 <= forcing <= 1, where, "teacher_forcing", forcing, "from 0 to 1")
    require(model.wider > 0, where, "wider", model.wider, "above 0")
    for key in ("emphasis", "spread_weight"):
        require(getattr(model, key) >= 0, where, key, getattr(model, key), "0 or more")
    require(
        bool(model.ridge) and min(model.ridge) > 0,
        where,
        "ridge",
        model.ridge,
        "a list of penalties above 0",
    )


def _check_layers(model: Model, where: str) -> None:
    widths = model.units if isinstance(model.units, list) else [model.units]
    require(
        bool(widths) and all(type(n) is int and n >= 1 for n in widths),
        where,
        "units",
        model.units,
        "1 or more, or a list of such, one a layer",
    )
    require(
        not isinstance(model.units, list) or model.layers in (1, len(widths)),
        where,
        "layers",
        model.layers,
        f"left out, or {len(widths)}: `units` lists the layers",
    )
    require(
        not model.dilations
        or (len(model.dilations) == len(model.layer_units) and min(model.dilations) >= 1),
        where,
        "dilations",
        model.dilations,
        f"empty, or a list of {len(model.layer_units)} numbers of steps, one a layer",
    )
    for key in ("activation", "recurrent_activation"):
        one_of(getattr(model, key), ACTIVATIONS, where, key)
    require(
        model.cell != "rnn" or model.recurrent_activation == "sigmoid",
        where,
        "recurrent_activation",
        model.recurrent_activation,
        "left out for `cell: rnn`, which has no gates",
    )
    for key in ("dropout", "input_dropout", "recurrent_dropout"):
        require(0 <= getattr(model, key) < 1, where, key, getattr(model, key), "from 0 up to 1")


def _check_combination(model: Model, where: str) -> None:
    """Refuse parts that do not go together."""
    refused = [
        (
            model.attention != "none" and model.decoder != "seq2seq",
            f"`attention: {model.attention}` is of `decoder: seq2seq`, not of {model.decoder!r}",
        ),
        (
            model.decoder == "autoregressive" and model.head not in DISTRIBUTIONS,
            f"`decoder: autoregressive` samples from a distribution, `head: {model.head}` is none of "
            + ", ".join(DISTRIBUTIONS),
        ),
        (
            model.head == "event" and model.decoder == "seq2seq",
            "`head: event` has no value to hand from step to step, as `decoder: seq2seq` does",
        ),
        (
            (model.head == "negative_binomial") != (model.normalisation == "mean"),
            f"`head: negative_binomial` and `normalisation: mean` need each other; there are"
            f" `head: {model.head}` and `normalisation: {model.normalisation}`",
        ),
        (
            bool(model.event) and model.head != "event",
            f"`event` is of `head: event`, not of `head: {model.head}`",
        ),
        (
            (model.kind, model.head == "event") in (("linear", True), ("logistic", False)),
            f"`kind: {model.kind}` forecasts "
            + ("quantiles" if model.kind == "linear" else "an event")
            + f", there is `head: {model.head}`",
        ),
    ]
    for wrong, what in refused:
        if wrong:
            raise ConfigError("COMBINATION", f"{where}: {what}.", f"Change one of them in {where}.")
    check_event(model.event, where, "event")
    require(model.event_weight > 0, where, "event_weight", model.event_weight, "above 0")


def check_fit(fit: Fit, where: str) -> None:
    for key in (
        "max_epochs",
        "steps_per_epoch",
        "batch_size",
        "patience",
        "max_validation_windows",
        "log_every",
    ):
        require(getattr(fit, key) >= 1, where, key, getattr(fit, key), "1 or more")
    one_of(fit.precision, PRECISIONS, where, "precision")
    devices = fit.devices
    require(devices >= 1 or devices == -1, where, "devices", devices, "1 or more, or -1 (all)")
    require(
        devices <= fit.batch_size,
        where,
        "devices",
        devices,
        f"at most `batch_size` ({fit.batch_size}): devices share a batch",
    )
    require(fit.gradient_clip >= 0, where, "gradient_clip", fit.gradient_clip, "0 (off) or more")
    require(fit.learning_rate > 0, where, "learning_rate", fit.learning_rate, "above 0")
    require(fit.weight_decay >= 0, where, "weight_decay", fit.weight_decay, "0 or more")
    require(0 <= fit.averaging < 1, where, "averaging", fit.averaging, "from 0 up to 1")
    require(
        fit.threads is None or fit.threads >= 1, where, "threads", fit.threads, "1 or more, or null"
    )


def check_search(search: Search, where: str) -> None:
    require(search.trials >= 1, where, "trials", search.trials, "1 or more")
    minutes = search.minutes
    require(minutes is None or minutes > 0, where, "minutes", minutes, "above 0, or null")
    require(bool(search.space), where, "space", search.space, "of at least one setting")
    for name, given in search.space.items():
        if not isinstance(given, Range):
            require(
                isinstance(given, dict),
                where,
                f"space.{name}",
                given,
                "`low` and `high`, or `choices`",
            )
            given = Range(**typed(given, f"{where}, `space.{name}`", Range))
        search.space[name] = r = given
        if r.choices:
            continue
        key, ends = f"space.{name}", (r.low, r.high)
        numbers = all(type(end) in (int, float) for end in ends)
        require(numbers, where, key, ends, "two numbers, `low` and `high`, or a list of `choices`")
        require(r.low < r.high, where, f"{key}.low", r.low, f"below `high` ({r.high})")
        require(not r.log or r.low > 0, where, f"{key}.low", r.low, "above 0 for `log`")
