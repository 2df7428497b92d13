"""The package: the same forecasts after a round trip, refused when anything is wrong, nothing that can run."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from gatecast.core.errors import RegistryError
from gatecast.data.panel import Panel
from gatecast.data.windows import rolling_origins
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.models.cells import CELLS
from gatecast.models.config import Model
from gatecast.registry import package
from gatecast.training.trainer import Trained
from tests.recipes import model_of

Write = Callable[..., str]
RECIPES = [model_of(cell=c, hidden_size=8, n_steps=3, n_origins=2) for c in CELLS]


@pytest.fixture
def folder(tmp_path: Path, tiny: Panel, write_package: Write) -> Path:
    write_package(tmp_path / "models/linear", tiny)
    return tmp_path / "models/linear"


def untrained(panel: Panel, recipe: Model) -> Trained:
    torch.manual_seed(0)
    spec = input_spec(panel, recipe)
    return Trained(build(recipe, spec), spec, fit_scaling(panel), {"val_loss": 0.5}, {})


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "package.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("recipe", RECIPES, ids=CELLS)
def test_a_package_forecasts_what_the_net_forecast(
    recipe: Model, tmp_path: Path, tiny: Panel
) -> None:
    trained, windows = untrained(tiny, recipe), rolling_origins(tiny, "test")
    before = NetPredictor("v", trained.net, trained.spec, trained.scaling, tiny.meta)
    package.write(tmp_path / "v", "v", recipe, 1, tiny.meta, trained)
    after = package.load(tmp_path / "v")
    np.testing.assert_array_equal(
        after.predict(tiny, windows).values, before.predict(tiny, windows).values
    )


def test_the_closed_form_survives_its_package(
    folder: Path, tiny: Panel, fitted: Callable[[Panel], Trained]
) -> None:
    trained, windows = fitted(tiny), rolling_origins(tiny, "test")
    before = NetPredictor("v", trained.net, trained.spec, trained.scaling, tiny.meta)
    after = package.load(folder)
    np.testing.assert_array_equal(
        after.predict(tiny, windows).values, before.predict(tiny, windows).values
    )


def test_a_package_knows_what_it_is(folder: Path, tiny: Panel) -> None:
    content = package.describe(folder)
    assert (content["variant"], content["seed"], content["schema"]) == ("linear", 1, package.SCHEMA)
    assert content["panel"]["data_hash"] == tiny.meta.data_hash
    splits = tiny.meta.splits
    assert content["trained_on"] == {
        "from": tiny.meta.first,
        "weights": splits["train_end"],
        "intervals": splits["validation_end"],
    }
    loaded = package.load(folder)
    assert (loaded.name, loaded.horizon) == ("linear", tiny.meta.horizon)
    assert loaded.meta == tiny.meta


def test_nothing_in_a_package_is_pickled(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["package.json", "weights.safetensors"]
    json.loads((folder / "package.json").read_text())
    raw = (folder / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    assert 8 + length + max(ends) == len(raw)  # tensors and nothing behind them


def test_the_same_net_gives_the_same_digest(
    tmp_path: Path, tiny: Panel, write_package: Write
) -> None:
    assert write_package(tmp_path / "a", tiny) == write_package(tmp_path / "b", tiny)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), name=st.sampled_from(package.FILES))
def test_the_digest_changes_when_a_byte_changes(
    data: st.DataObject,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    tiny: Panel,
    write_package: Write,
) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "linear"
    before = write_package(folder, tiny)
    raw = bytearray((folder / name).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(raw)
    assert package.digest(folder) != before


def test_bytes_that_move_from_one_file_to_the_other_change_the_digest(tmp_path: Path) -> None:
    digests = []
    for at in (2, 3):
        (tmp_path / "package.json").write_bytes(b"abcdef"[:at])
        (tmp_path / "weights.safetensors").write_bytes(b"abcdef"[at:])
        digests.append(package.digest(tmp_path))
    assert digests[0] != digests[1]


def test_the_expected_digest_is_asked_for(folder: Path) -> None:
    assert package.load(folder, package.digest(folder)).name == "linear"
    with pytest.raises(RegistryError, match="DIGEST"):
        package.load(folder, "0" * 64)


def test_a_foreign_file_in_a_package_is_refused(folder: Path) -> None:
    expected = package.digest(folder)
    (folder / "weights.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(RegistryError, match=r"PACKAGE-FOREIGN.*weights\.pkl"):
        package.load(folder, expected)


@pytest.mark.parametrize(
    "recipe",
    [*RECIPES, model_of(kind="ensemble", members=[{"kind": "linear"}, {"kind": "recurrent"}])],
    ids=[*CELLS, "ensemble"],
)
def test_a_package_is_little_more_than_its_weights(
    recipe: Model, tmp_path: Path, tiny: Panel
) -> None:
    trained = untrained(tiny, recipe)
    package.write(tmp_path / "v", "v", recipe, 1, tiny.meta, trained)
    size = sum(p.stat().st_size for p in (tmp_path / "v").iterdir())
    weights = sum(t.numel() * t.element_size() for t in trained.net.state_dict().values())
    assert size <= 1.2 * weights + 50 * 1024


@pytest.mark.parametrize("schema", [package.SCHEMA + 1, 0, "1"])
def test_another_schema_is_refused(schema: object, folder: Path) -> None:
    rewrite(folder, schema=schema)
    with pytest.raises(RegistryError, match="PACKAGE-SCHEMA"):
        package.load(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(keep: int, folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path, tiny: Panel) -> None:
    package.write(tmp_path / "other", "rnn", RECIPES[0], 1, tiny.meta, untrained(tiny, RECIPES[0]))
    os.replace(tmp_path / "other/weights.safetensors", folder / "weights.safetensors")
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    state = package.load(folder).net.state_dict()
    save_file({k: v[:1].clone() for k, v in state.items()}, folder / "weights.safetensors")
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


def test_pickled_weights_are_refused_without_being_run(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weight": Bomb()}, folder / "weights.safetensors")
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '"text"', f'{{"schema": {package.SCHEMA}}}'],
    ids=lambda t: t or "empty",
)
def test_a_description_that_cannot_be_read_is_refused(text: str, folder: Path) -> None:
    (folder / "package.json").write_text(text)
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


@pytest.mark.parametrize(
    "model", [{"kind": "os.system"}, {"_target_": "os.system"}, {"cell": "os"}, []], ids=str
)
def test_a_description_cannot_name_code(model: object, folder: Path) -> None:
    recipe = {"kind": "recurrent", **model} if isinstance(model, dict) else model
    rewrite(folder, model=recipe)
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


@pytest.mark.parametrize("part", ["spec", "scaling", "panel"])
def test_a_description_with_a_key_nobody_knows_is_refused(part: str, folder: Path) -> None:
    content = package.describe(folder)
    rewrite(folder, **{part: content[part] | {"surprise": 1}})
    with pytest.raises(RegistryError, match="PACKAGE-READ"):
        package.load(folder)


@pytest.mark.parametrize("name", package.FILES)
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(RegistryError, match=rf"PACKAGE-MISSING.*{name}"):
        package.load(folder)


def test_a_new_package_replaces_the_old_one_whole(
    tmp_path: Path, tiny: Panel, write_package: Write
) -> None:
    old = write_package(tmp_path / "v", tiny, 0.5)
    (tmp_path / "v/stray").touch()
    new = write_package(tmp_path / "v", tiny, 1.0)
    assert package.digest(tmp_path / "v") == new != old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v"]
    assert not (tmp_path / "v/stray").exists()


def test_a_package_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, tiny: Panel, write_package: Write, fitted: Callable[[Panel], Trained]
) -> None:
    old = write_package(tmp_path / "v", tiny)
    broken = replace(fitted(tiny), outcome={"val_loss": float("nan")})  # JSON knows no NaN
    with pytest.raises(ValueError, match="JSON"):
        package.write(tmp_path / "v", "v", model_of(kind="linear"), 1, tiny.meta, broken)
    assert package.digest(tmp_path / "v") == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v"]
