"""The package: everything needed to predict with a variant, and nothing that can run code.

    models/<variant>/weights.safetensors    tensors
    models/<variant>/package.json           recipe, sizes, scaling, meaning of the panel, outcome of the fit

Its digest (sha256 over both files) names it everywhere: in MLflow tags, in the registry, on every forecast row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatecast.core import atomic
from gatecast.core.errors import ConfigError, RegistryError
from gatecast.core.forecast import Event, Task
from gatecast.core.version import __version__
from gatecast.data.panel import PanelMeta

# What builds a net imports torch, which costs seconds: a digest needs none of it.
if TYPE_CHECKING:
    from gatecast.evaluation.predictor import NetPredictor
    from gatecast.models.config import Model
    from gatecast.training.trainer import Trained

SCHEMA = 4
_BEFORE = 3  # still read: settings and sizes had other names
MODELS = Path("models")
FILES = ("package.json", "weights.safetensors")


def write(
    folder: Path, variant: str, model: Model, seed: int, panel: PanelMeta, trained: Trained
) -> str:
    """Write a package atomically.

    Returns:
        Its digest.
    """
    from safetensors.torch import save_file

    from gatecast.models.config import flat

    content = {
        "schema": SCHEMA,
        "gatecast": __version__,
        "variant": variant,
        "seed": seed,
        "model": flat(model),
        "spec": trained.spec.to_json(),
        "scaling": trained.scaling.to_json(),
        "panel": panel.to_json(),
        "trained_on": _span(panel),
        "outcome": trained.outcome,
    }
    with atomic.folder(folder) as out:
        save_file(
            {k: v.contiguous() for k, v in trained.net.state_dict().items()},
            out / "weights.safetensors",
        )
        atomic.write_json(out / "package.json", content)
    return digest(folder)


def _span(panel: PanelMeta) -> dict[str, str]:
    """From which stamp the weights have learnt, before which they stop, and before which the intervals do."""
    s = panel.splits
    if s["by"] == "time":
        return {"from": panel.first, "weights": s["train_end"], "intervals": s["validation_end"]}
    back = "{} steps before the end of each series"
    weights, intervals = (back.format(n) for n in (s["validation"] + s["test"], s["test"]))
    return {"from": panel.first, "weights": weights, "intervals": intervals}


def digest(folder: Path) -> str:
    """sha256 over the files of a package.

    Raises:
        RegistryError: PACKAGE-MISSING; PACKAGE-FOREIGN if other files lie beside them.
    """
    total = hashlib.sha256()
    if folder.is_dir() and (others := sorted({p.name for p in folder.iterdir()} - {*FILES})):
        raise RegistryError(
            "PACKAGE-FOREIGN",
            f"{folder} holds what no package has: {', '.join(others)}.",
            "Find out who put it there; train the variant again.",
        )
    for name in FILES:
        try:
            with open(folder / name, "rb") as handle:
                total.update(name.encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
        except OSError:
            raise RegistryError(
                "PACKAGE-MISSING",
                f"{folder} holds no model package ({name} cannot be read).",
                "Train the variant: dvc repro train.",
            ) from None
    return total.hexdigest()


def describe(folder: Path) -> dict[str, Any]:
    """The content of ``package.json``.

    Raises:
        RegistryError: PACKAGE-MISSING, PACKAGE-SCHEMA, PACKAGE-READ.
    """
    digest(folder)
    try:
        content = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        schema = content["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            "PACKAGE-READ",
            f"{folder}/package.json cannot be read: {error}",
            "Train the variant again.",
        ) from None
    if schema == _BEFORE:
        return _with_todays_names(content)
    if schema != SCHEMA:
        raise RegistryError(
            "PACKAGE-SCHEMA",
            f"{folder} has schema {schema}, this gatecast reads {_BEFORE} and {SCHEMA}.",
            "Use the gatecast that wrote it.",
        )
    return dict(content)


def _with_todays_names(content: dict[str, Any]) -> dict[str, Any]:
    """A package of schema 3 as one of schema 4: other names, and only the settings that the model has."""
    from gatecast.models.config import applicable
    from gatecast.models.renamed import renamed

    model = renamed(content["model"])
    if model["kind"] == "ensemble":
        members = []
        for own in map(renamed, model["members"]):
            recipe = model | {"kind": "recurrent"} | own
            members.append(applicable(recipe) | {"n_seeds": recipe["n_seeds"]})
        model = {"kind": "ensemble", "members": members}
    else:
        model = applicable(model)
    spec = renamed(content["spec"])
    spec["members"] = [member and renamed(member) for member in spec["members"]]
    return content | {"schema": SCHEMA, "model": model, "spec": spec}


def tampered(folder: Path) -> RegistryError:
    """What to say of a package whose digest is another than was registered."""
    return RegistryError(
        "DIGEST",
        f"the package in {folder} is not the one that was registered: its digest differs.",
        "Do not use it; promote a fresh one.",
    )


def load(folder: Path, expected: str | None = None) -> NetPredictor:
    """Rebuild the predictor of a package; arguments and errors as in :func:`read`."""
    return read(folder, expected).predictor


def read(folder: Path, expected: str | None = None) -> Package:
    """Read a package into memory.

    Args:
        folder: the package.
        expected: digest it must have; looked at before anything is read.

    Raises:
        RegistryError: DIGEST if it differs; otherwise as :func:`digest` and :func:`describe`.
    """
    if expected is not None and digest(folder) != expected:
        raise tampered(folder)
    content = describe(folder)
    with _rebuilding(folder):
        meta = PanelMeta.from_json(content["panel"])
        event = dict(content["spec"].get("event") or {})
    return Package(folder, content, (folder / FILES[1]).read_bytes(), meta, event)


@dataclass(frozen=True)
class Package:
    """A package in memory; its net is built, with torch, when it is first asked for.

    Attributes:
        folder: where it was read, for messages.
        content: of ``package.json``.
        weights: of ``weights.safetensors``.
        meta: of the panel that it was trained on.
        event: that it forecasts; empty if it forecasts quantiles.
    """

    folder: Path
    content: dict[str, Any]
    weights: bytes
    meta: PanelMeta
    event: Event

    @property
    def task(self) -> Task:
        return "event" if self.event else "quantile"

    @cached_property
    def predictor(self) -> NetPredictor:
        """Its predictor.

        Raises:
            RegistryError: PACKAGE-READ.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load as tensors

        from gatecast.evaluation.predictor import NetPredictor
        from gatecast.feed.scaling import Scaling
        from gatecast.models.build import build
        from gatecast.models.inputs import InputSpec
        from gatecast.models.recipe import read_model

        with _rebuilding(self.folder, RuntimeError, ConfigError, SafetensorError):
            model = read_model(self.content["model"], str(self.folder / FILES[0]))
            spec = InputSpec.from_json(self.content["spec"])
            net = build(model, spec)
            net.load_state_dict(tensors(self.weights))
            scaling = Scaling.from_json(self.content["scaling"])
            return NetPredictor(str(self.content["variant"]), net, spec, scaling, self.meta)


@contextmanager
def _rebuilding(folder: Path, *others: type[Exception]) -> Iterator[None]:
    """Whatever is wrong inside a package is said as PACKAGE-READ."""
    wrong: tuple[type[Exception], ...] = (KeyError, TypeError, ValueError, AttributeError, *others)
    try:
        yield
    except wrong as error:
        raise RegistryError(
            "PACKAGE-READ",
            f"the package in {folder} cannot be rebuilt: {error}",
            "Train the variant again.",
        ) from None
