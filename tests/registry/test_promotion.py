"""Promotion from end to end, on a real store: who sits, who follows, and that errors move nothing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import EvaluationError, GatecastError, RegistryError
from gatecast.core.ledger import Ledger
from gatecast.data.panel import Panel
from gatecast.data.windows import rolling_origins
from gatecast.registry import champion, package, promotion
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import runs, store
from gatecast.registry.mlflow.model import log_package

Pass = Callable[..., dict[str, Any]]
Panels = Callable[..., Panel]
MODEL = "gatecast-tiny"
GOOD, POOR, BAD, BROKEN = 1.0, 0.8, 0.0, math.nan


def aliases() -> dict[str, int]:
    try:
        found = store.client().get_registered_model(MODEL).aliases
    except Exception:  # nothing was ever registered
        return {}
    return {name: int(version) for name, version in found.items()}


def versions() -> int:
    return len(store.client().search_model_versions(f"name = '{MODEL}'"))


def verdicts() -> list[str]:
    return [e.facts["verdict"] for e in Ledger().entries("promotion", MODEL)]


def test_the_first_variant_with_skill_becomes_champion(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    facts = promote(workplace, tiny, GOOD)
    assert (facts["verdict"], facts["champion"], facts["champion_before"]) == ("promoted", 1, None)
    assert aliases() == {"champion": 1}
    assert verdicts() == ["promoted"]


def test_the_champion_forecasts_what_its_package_forecast(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    sitting = champion.champion("tiny")
    assert sitting is not None
    assert (sitting.model, sitting.version, sitting.variant) == (MODEL, 1, "linear")
    assert sitting.digest == package.digest(workplace / "models/linear")
    windows = rolling_origins(tiny, "test")
    expected = package.load(workplace / "models/linear").predict(tiny, windows).values
    np.testing.assert_array_equal(sitting.package.predictor.predict(tiny, windows).values, expected)


def test_nobody_is_champion_before_the_first_promotion(workplace: Path) -> None:
    assert champion.champion("tiny") is None


def test_the_version_belongs_to_the_run_that_trained_it(
    workplace: Path, tiny: Panel, promote: Pass, write_package: Callable[..., str]
) -> None:
    write_package(workplace / "models/linear", tiny, GOOD)
    with runs.training_run("tiny", "linear", {}, {}) as run_id:
        log_package(run_id, workplace / "models/linear")
    promote(workplace, tiny, GOOD)
    sitting = champion.champion("tiny")
    assert sitting is not None
    assert sitting.run_id == run_id
    assert len(store.client().search_runs([store.experiment("tiny")])) == 1


def test_the_same_package_again_changes_nothing(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    facts = promote(workplace, tiny, GOOD)
    assert (facts["verdict"], facts["champion"]) == ("already_champion", 1)
    assert versions() == 1
    assert aliases() == {"champion": 1}
    assert verdicts() == ["promoted"]


def test_a_worse_challenger_keeps_the_champion(workplace: Path, tiny: Panel, promote: Pass) -> None:
    promote(workplace, tiny, GOOD)
    facts = promote(workplace, tiny, POOR)
    assert (facts["verdict"], facts["champion"]) == ("not_better", 1)
    assert facts["scores"]["champion"] < facts["scores"]["challenger"]
    assert versions() == 1
    assert aliases() == {"champion": 1}
    assert verdicts() == ["promoted", "not_better"]


def test_the_same_refusal_again_adds_no_row(workplace: Path, tiny: Panel, promote: Pass) -> None:
    promote(workplace, tiny, GOOD)
    promote(workplace, tiny, POOR)
    promote(workplace, tiny, POOR)
    assert verdicts() == ["promoted", "not_better"]


def test_a_better_challenger_moves_the_alias_and_leaves_the_previous_one(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, POOR)
    facts = promote(workplace, tiny, GOOD)
    assert (facts["verdict"], facts["champion_before"], facts["champion"]) == ("promoted", 1, 2)
    assert aliases() == {"champion": 2, "previous": 1}
    previous = champion.champion("tiny", champion.PREVIOUS)
    assert previous is not None
    assert previous.version == 1


def test_the_ledger_row_says_who_when_and_why(workplace: Path, tiny: Panel, promote: Pass) -> None:
    promote(workplace, tiny, POOR)
    promote(workplace, tiny, GOOD)
    row = Ledger().entries("promotion", MODEL)[-1].facts
    assert row["digest"] == package.digest(workplace / "models/linear")
    assert row["data_hash"] == tiny.meta.data_hash
    assert (row["champion_before"], row["champion"], row["metric"]) == (1, 2, "mase")
    assert row["scores"]["challenger"] < row["scores"]["champion"]
    assert "against the champion's" in row["reason"]


def test_a_variant_without_skill_is_not_promoted_even_if_nobody_sits(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    facts = promote(workplace, tiny, BAD)
    assert (facts["verdict"], facts["champion"]) == ("not_better", None)
    assert aliases() == {}
    assert verdicts() == ["not_better"]


def test_a_gain_below_the_margin_keeps_the_champion(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, 0.9)
    assert promote(workplace, tiny, GOOD, margin=0.5)["verdict"] == "not_better"
    assert promote(workplace, tiny, GOOD)["verdict"] == "promoted"


def test_an_alias_that_was_moved_back_by_hand_stays_there(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    """A rollback is not undone by the next `dvc repro`, until another package wins."""
    promote(workplace, tiny, POOR)
    promote(workplace, tiny, GOOD)
    store.client().set_registered_model_alias(MODEL, "champion", "1")
    facts = promote(workplace, tiny, GOOD)
    assert (facts["verdict"], facts["champion"]) == ("rolled_back", 1)
    assert aliases()["champion"] == 1
    assert versions() == 2
    assert verdicts()[-2:] == ["moved_by_hand", "rolled_back"]


def test_inside_a_dvc_experiment_nothing_moves(
    workplace: Path, tiny: Panel, promote: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "tall-oak")
    facts = promote(workplace, tiny, GOOD)
    assert (facts["verdict"], facts["champion"]) == ("experiment", None)
    assert aliases() == {}
    assert verdicts() == []


def test_inside_a_dvc_experiment_a_refusal_is_no_ledger_row_either(
    workplace: Path, tiny: Panel, promote: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(workplace, tiny, GOOD)
    monkeypatch.setenv("DVC_EXP_NAME", "tall-oak")
    promote(workplace, tiny, POOR)
    assert verdicts() == ["promoted"]


def test_a_champion_of_another_horizon_is_not_comparable(
    workplace: Path, tiny: Panel, make_panel: Panels, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    facts = promote(workplace, make_panel(horizon=4), GOOD)
    assert (facts["verdict"], facts["champion"]) == ("not_comparable", 1)
    assert "replace_incomparable" in facts["reason"]
    assert aliases() == {"champion": 1}
    assert verdicts() == ["promoted", "not_comparable"]


def test_a_champion_of_another_horizon_can_be_replaced(
    workplace: Path, tiny: Panel, make_panel: Panels, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    facts = promote(workplace, make_panel(horizon=4), GOOD, replace_incomparable=True)
    assert (facts["verdict"], facts["champion"]) == ("promoted", 2)
    assert aliases() == {"champion": 2, "previous": 1}


def test_an_incomparable_champion_is_not_replaced_by_one_without_skill(
    workplace: Path, tiny: Panel, make_panel: Panels, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    facts = promote(workplace, make_panel(horizon=4), BAD, replace_incomparable=True)
    assert (facts["verdict"], facts["champion"]) == ("not_better", 1)


def test_sources_have_champions_of_their_own(
    workplace: Path, tiny: Panel, make_panel: Panels, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    assert promote(workplace, make_panel(source="other"), POOR)["model"] == "gatecast-other"
    assert aliases() == {"champion": 1}
    assert champion.champion("other") is not None


def refused(code: str, panel: Panel, folder: Path, error: type[GatecastError]) -> None:
    """Promotion raises, and neither registry nor ledger has moved."""
    before = aliases(), versions(), verdicts()
    with pytest.raises(error) as caught:
        promotion.promote(panel, folder / "reports/leaderboard.json", folder / "models", Promote())
    assert caught.value.code == code
    assert (aliases(), versions(), verdicts()) == before


def test_a_leaderboard_of_other_data_is_refused(
    workplace: Path, tiny: Panel, make_panel: Panels, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    refused("STALE", make_panel(horizon=4), workplace, RegistryError)


def test_a_package_that_was_changed_after_its_evaluation_is_refused(
    workplace: Path, tiny: Panel, promote: Pass, write_package: Callable[..., str]
) -> None:
    promote(workplace, tiny, POOR)
    write_package(workplace / "models/linear", tiny, GOOD)
    refused("STALE", tiny, workplace, RegistryError)


def test_a_challenger_that_forecasts_no_number_is_an_error(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    with pytest.raises(EvaluationError, match="NAN-FORECAST"):
        promote(workplace, tiny, BROKEN)
    assert aliases() == {"champion": 1}
    assert versions() == 1
    assert verdicts() == ["promoted"]


@pytest.mark.parametrize("text", [None, "", "{", "{}", "[]", "null"])
def test_a_leaderboard_that_cannot_be_read_is_an_error(
    text: str | None, workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    board = workplace / "reports/leaderboard.json"
    board.unlink() if text is None else board.write_text(text)
    refused("LEADERBOARD", tiny, workplace, RegistryError)


@pytest.mark.parametrize("key", ["best", "digests"])
def test_a_leaderboard_that_lacks_a_key_is_an_error(
    key: str, workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    board = workplace / "reports/leaderboard.json"
    content = json.loads(board.read_text())
    del content[key]
    board.write_text(json.dumps(content))
    refused("LEADERBOARD", tiny, workplace, RegistryError)


def artifact(folder: Path) -> Path:
    (found,) = (folder / "mlartifacts").rglob("weights.safetensors")
    return found


def test_a_champion_whose_artifact_was_changed_is_refused(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, POOR)
    raw = bytearray(artifact(workplace).read_bytes())
    raw[-1] ^= 1
    artifact(workplace).write_bytes(raw)
    refused("DIGEST", tiny, workplace, RegistryError)


def test_a_champion_whose_package_is_nowhere_is_an_error_of_its_own(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, POOR)
    shutil.rmtree(workplace / "mlartifacts")
    with pytest.raises(RegistryError, match="ARTIFACT"):
        promote(workplace, tiny, GOOD)
    assert aliases() == {"champion": 1}


def test_a_champion_whose_artifact_is_gone_is_compared_by_the_package_of_its_digest(
    workplace: Path, tiny: Panel, promote: Pass, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(workplace, tiny, POOR)
    shutil.rmtree(workplace / "mlartifacts")
    shutil.move(workplace / "models/linear", workplace / "kept")
    (workplace / "models/other").mkdir()
    shutil.move(workplace / "kept", workplace / "models/before")
    sitting = champion.champion("tiny")
    assert sitting is not None
    assert "its package in models/before is used" in capsys.readouterr().err
    (workplace / "models/before/weights.safetensors").write_bytes(b"changed")
    with pytest.raises(RegistryError, match="ARTIFACT"):
        champion.champion("tiny")


def test_a_champion_that_somebody_else_registered_is_refused(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    client = store.client()
    foreign = client.create_model_version(MODEL, source=(workplace / "foreign").as_uri())
    client.set_registered_model_alias(MODEL, "champion", foreign.version)
    with pytest.raises(RegistryError, match="not registered by gatecast"):
        promote(workplace, tiny, POOR)
    assert aliases()["champion"] == int(foreign.version)
    assert verdicts() == ["promoted", "moved_by_hand"]


def test_a_promotion_that_could_not_be_noted_is_noted_by_the_next_run(
    workplace: Path, tiny: Panel, promote: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open-source MLflow keeps no alias history: the ledger is the only one."""
    with monkeypatch.context() as patch:
        patch.setenv("GATECAST_LEDGER_URI", f"sqlite:///{workplace}/nowhere/ledger.db")
        with pytest.raises(Exception, match="open"):
            promote(workplace, tiny, GOOD)
    promote(workplace, tiny, GOOD)
    assert aliases() == {"champion": 1}
    assert verdicts() == ["promoted"]


def test_a_champion_that_has_learnt_from_the_test_span_is_not_compared(
    workplace: Path, tiny: Panel, promote: Pass
) -> None:
    promote(workplace, tiny, GOOD)
    day = pd.Timedelta(days=1)
    splits = {
        key: str(pd.Timestamp(value) - day) if key != "by" else value
        for key, value in tiny.meta.splits.items()
    }
    earlier = replace(tiny, meta=replace(tiny.meta, splits=splits, data_hash="earlier"))
    facts = promote(workplace, earlier, POOR)
    assert (facts["verdict"], facts["champion"]) == ("not_comparable", 1)
    assert "has learnt from values up to" in facts["reason"]
    assert promote(workplace, earlier, POOR, replace_incomparable=True)["champion"] == 2
