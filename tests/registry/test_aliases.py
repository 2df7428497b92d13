"""How the alias moves: rollback, a rollback of it, a hand in MLflow's pages, and a move that was cut off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gatecast.core import failpoints, ledger
from gatecast.core.errors import RegistryError
from gatecast.core.ledger import Ledger, who
from gatecast.data.panel import Panel
from gatecast.registry import aliases, gate
from gatecast.registry.mlflow import store

MODEL = "gatecast-tiny"
GOOD, FAIR, POOR = 1.0, 0.9, 0.8


def named() -> dict[str, int]:
    found = store.client().get_registered_model(MODEL).aliases
    return {name: int(version) for name, version in found.items()}


def rows() -> list[dict[str, Any]]:
    return [e.facts for e in Ledger().entries("promotion", MODEL)]


def verdicts() -> list[str]:
    return [row["verdict"] for row in rows()]


def tags(version: int) -> dict[str, str]:
    return dict(store.client().get_model_version(MODEL, str(version)).tags)


@pytest.fixture
def two(shelf: Any, after_two: Path) -> Any:
    """Version 1 was champion, version 2 is."""
    for name in ("mlflow.db", "ledger.db"):
        shutil.copy(after_two / name, shelf.folder / name)
    return shelf


def test_a_rollback_restores_the_previous_champion_and_says_who_and_why(two: Any) -> None:
    moved = aliases.rollback("tiny", "it forecasts too much on holidays")
    assert (moved["champion"], moved["champion_before"]) == (1, 2)
    assert named() == {"champion": 1, "previous": 2}
    row = rows()[-1]
    assert (row["verdict"], row["reason"]) == ("rollback", "it forecasts too much on holidays")
    assert row["by"] == who()
    assert row["digest"] == rows()[0]["digest"]
    assert tags(1)["gatecast.verdict"] == "rollback"
    assert "gatecast.promoted_at" in tags(1)


def test_a_rollback_of_the_rollback_returns(two: Any) -> None:
    aliases.rollback("tiny")
    aliases.rollback("tiny")
    assert named() == {"champion": 2, "previous": 1}
    assert verdicts() == ["promoted", "promoted", "rollback", "rollback"]


def test_a_package_that_was_rolled_back_is_not_put_back_by_the_next_promotion(
    two: Any, tiny: Panel
) -> None:
    aliases.rollback("tiny")
    for _ in range(2):
        facts = two.send(tiny, GOOD)
        assert (facts["verdict"], facts["champion"]) == ("rolled_back", 1)
    assert named()["champion"] == 1
    assert verdicts()[2:] == ["rollback", "rolled_back"]
    aliases.rollback("tiny")
    assert two.send(tiny, GOOD)["verdict"] == "already_champion"


def test_another_package_may_follow_a_rollback_and_the_withdrawn_one_still_does_not(
    two: Any, tiny: Panel
) -> None:
    aliases.rollback("tiny")
    assert two.send(tiny, FAIR)["champion"] == 3
    assert two.send(tiny, GOOD)["verdict"] == "rolled_back"
    assert named() == {"champion": 3, "previous": 1}


def test_there_is_nothing_to_roll_back_to_after_the_first_promotion(
    shelf: Any, tiny: Panel
) -> None:
    with pytest.raises(RegistryError, match="NO-PREVIOUS"):
        aliases.rollback("tiny")
    shelf.send(tiny, GOOD)
    with pytest.raises(RegistryError, match="NO-PREVIOUS"):
        aliases.rollback("tiny")
    assert named() == {"champion": 1}
    assert verdicts() == ["promoted"]


def test_a_previous_champion_that_was_tampered_with_is_not_restored(two: Any) -> None:
    client = store.client()
    client.set_model_version_tag(MODEL, "1", "gatecast.digest", "0" * 64)
    with pytest.raises(RegistryError, match="DIGEST"):
        aliases.rollback("tiny")
    assert named() == {"champion": 2, "previous": 1}
    assert verdicts() == ["promoted", "promoted"]


def test_an_alias_moved_by_hand_is_noted_once_and_respected(two: Any, tiny: Panel) -> None:
    store.client().set_registered_model_alias(MODEL, "champion", "1")
    assert two.send(tiny, GOOD)["verdict"] == "rolled_back"
    assert two.send(tiny, GOOD)["verdict"] == "rolled_back"
    assert named() == {"champion": 1, "previous": 2}
    assert verdicts()[2:] == ["moved_by_hand", "rolled_back"]
    assert "names version 1, the ledger version 2" in rows()[2]["reason"]
    assert aliases.rollback("tiny")["champion"] == 2
    assert two.send(tiny, GOOD)["verdict"] == "already_champion"


def test_a_champion_of_which_the_ledger_knows_nothing_is_noted(two: Any, tiny: Panel) -> None:
    Path("ledger.db").unlink()
    assert two.send(tiny, GOOD)["verdict"] == "already_champion"
    assert [(r["verdict"], r["champion"]) for r in rows()] == [("moved_by_hand", 2)]


def test_a_registry_that_was_deleted_is_filled_again(two: Any, filled: Any, tiny: Panel) -> None:
    """The ledger still knows the champion; nobody has put another in its place."""
    shutil.copy(filled.folder / "mlflow.db", "mlflow.db")
    facts = two.send(tiny, GOOD)
    assert (facts["verdict"], facts["champion"]) == ("promoted", 1)
    assert named() == {"champion": 1}
    assert verdicts() == ["promoted", "promoted", "moved_by_hand", "promoted"]


def test_a_version_says_why_it_was_promoted(two: Any) -> None:
    found = tags(2)
    row = rows()[-1]
    assert found["gatecast.verdict"] == "promoted"
    assert found["gatecast.promoted_at"] == Ledger().entries("promotion", MODEL)[-1].at
    assert float(found["gatecast.mase.challenger"]) == pytest.approx(
        row["scores"]["challenger"], rel=1e-5
    )
    assert json.loads(found["gatecast.checks"]) == row["checks"]
    assert {c["name"] for c in row["checks"]} == {"origins", "skill", "coverage_95", "gain"}


_CHILD = """
import sys
from pathlib import Path
from gatecast.registry.config import Promote
from gatecast.data.panel import Panel
from gatecast.registry import aliases, promotion
board = Path(sys.argv[2])
if sys.argv[1] == "rollback":
    aliases.rollback("tiny")
else:
    panel = Panel.load(Path("panel"))
    print(promotion.promote(panel, board, board.parents[1] / "models", Promote())["verdict"])
"""


def start(shelf: Any, what: str, quality: float, **env: str) -> subprocess.Popen[str]:
    """A promotion, or a rollback, in a process of its own."""
    script = shelf.folder / "child.py"
    script.write_text(_CHILD)
    return subprocess.Popen(
        [sys.executable, str(script), what, str(shelf.boards[quality])],
        env=os.environ | {"PYTHONWARNINGS": "ignore"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_promoters_at_once_come_one_after_the_other(two: Any, tiny: Panel) -> None:
    """Both would replace version 2's predecessor; whichever is second meets the other's champion."""
    aliases.rollback("tiny")
    tiny.save(Path("panel"))
    both = [start(two, "promote", FAIR) for _ in range(2)]
    ended = [p.communicate(timeout=100) for p in both]
    assert [p.returncode for p in both] == [0, 0], ended
    assert sorted(out.split()[-1] for out, _ in ended) == ["already_champion", "promoted"]
    assert named() == {"champion": 3, "previous": 1}
    assert len(store.client().search_model_versions(f"name = '{MODEL}'")) == 3
    assert verdicts() == ["promoted", "promoted", "rollback", "promoted"]
    assert aliases.interrupted(Ledger(), MODEL) is None


def test_a_second_promoter_that_waits_in_vain_is_told_who_holds_the_lease(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)
    with Ledger().lease(aliases.lease_name(MODEL)), pytest.raises(RegistryError) as caught:
        shelf.send(tiny, GOOD)
    assert caught.value.code == "LEASE"
    assert who() in caught.value.what


def test_a_promoter_that_lost_its_lease_moves_nothing(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that slept: another has taken the lease before the alias moves."""
    shelf.send(tiny, POOR)

    def taken(name: str) -> None:
        if name == "promotion: decision noted":
            with Ledger()._engine.begin() as connection:
                connection.exec_driver_sql("update leases set token = token + 1, holder = 'other'")

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", taken)
        with pytest.raises(RegistryError, match="LEASE-LOST"):
            shelf.send(tiny, GOOD)
    assert named() == {"champion": 1}


def test_a_registry_that_goes_down_mid_way_leaves_the_champion_and_the_next_promotion_finishes(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.send(tiny, POOR)
    aside = Path("away.db")

    def down(name: str) -> None:
        if name == "promotion: decision noted":
            Path("mlflow.db").rename(aside)
            Path("mlflow.db").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", down)
        with pytest.raises(RegistryError) as caught:
            shelf.send(tiny, GOOD)
    assert caught.value.code == "STORE"
    Path("mlflow.db").rmdir()
    aside.rename("mlflow.db")
    assert named() == {"champion": 1}
    assert aliases.interrupted(Ledger(), MODEL) is not None
    assert shelf.send(tiny, GOOD)["verdict"] == "already_champion"
    assert named() == {"champion": 2, "previous": 1}
    assert aliases.interrupted(Ledger(), MODEL) is None
    assert verdicts() == ["promoted", "promoted"]


def test_a_promotion_killed_before_the_alias_moved_keeps_the_champion_until_it_is_finished(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.send(tiny, POOR)
    killed(shelf, tiny, GOOD, "promotion: previous moved", monkeypatch)
    assert named()["champion"] == 1
    assert shelf.send(tiny, GOOD)["champion"] == 2
    assert named() == {"champion": 2, "previous": 1}
    assert verdicts() == ["promoted", "promoted"]


def test_a_rollback_that_was_killed_is_finished_by_the_next_one_and_not_undone(
    two: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The end of a process."""

    def reach(name: str) -> None:
        if name == "promotion: champion moved":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", reach)
        with pytest.raises(Killed):
            aliases.rollback("tiny")
    assert aliases.rollback("tiny")["champion"] == 1
    assert named() == {"champion": 1, "previous": 2}
    assert verdicts() == ["promoted", "promoted", "rollback"]


def test_a_move_to_a_version_that_was_deleted_is_given_up(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.send(tiny, POOR)
    killed(shelf, tiny, GOOD, "promotion: decision noted", monkeypatch)
    store.client().delete_model_version(MODEL, "2")
    assert shelf.send(tiny, POOR)["verdict"] == "already_champion"
    assert named() == {"champion": 1}
    assert verdicts() == ["promoted", "promoted", "moved_by_hand"]


def killed(
    shelf: Any, tiny: Panel, quality: float, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion that ends at a failpoint, in a forked process; its lease has run out since."""
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    monkeypatch.setenv("GATECAST_FAILPOINT", point)
    child = os.fork()
    if child == 0:
        try:
            shelf.send(tiny, quality)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == failpoints.DIED
    monkeypatch.delenv("GATECAST_FAILPOINT")
    with Ledger()._engine.begin() as connection:
        connection.exec_driver_sql("update leases set expires_at = 0")


def test_an_experiment_is_judged_while_somebody_else_promotes(
    shelf: Any, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "tall-oak")
    with Ledger().lease(aliases.lease_name(MODEL)):
        assert shelf.send(tiny, GOOD)["verdict"] == gate.EXPERIMENT
