"""One append-only ledger."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.errors import RegistryError
from gatecast.core.ledger import Entry, Ledger, display


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def test_rows_come_back_oldest_first(address: str) -> None:
    ledger = Ledger(address)
    for n in range(5):
        ledger.append("scoring", "demo", {"n": n})
    assert [e.facts["n"] for e in ledger.entries("scoring")] == [0, 1, 2, 3, 4]


def test_an_appended_row_is_the_row_that_is_read(address: str) -> None:
    ledger = Ledger(address)
    entry = ledger.append("promotion", "gatecast-demo", {"verdict": "promoted", "champion": 3})
    assert Ledger(address).entries("promotion") == [entry]
    assert isinstance(entry, Entry)


def test_a_row_says_when_it_was_added_in_utc(address: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    at = datetime.fromisoformat(Ledger(address).append("scoring", "demo", {}).at)
    assert at.utcoffset() is not None
    assert before <= at <= datetime.now(UTC)


def test_kinds_and_subjects_are_kept_apart(address: str) -> None:
    ledger = Ledger(address)
    for kind in ("promotion", "scoring"):
        for subject in ("demo", "m4"):
            ledger.append(kind, subject, {"is": f"{kind} of {subject}"})
    assert [e.facts["is"] for e in ledger.entries("scoring", "m4")] == ["scoring of m4"]
    assert len(ledger.entries("promotion")) == 2
    assert ledger.entries("other") == []
    assert ledger.entries("scoring", "nobody") == []


def test_identities_grow(address: str) -> None:
    ledger = Ledger(address)
    numbers = [ledger.append("scoring", "demo", {}).id for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_opening_a_ledger_keeps_what_is_in_it(address: str) -> None:
    Ledger(address).append("scoring", "demo", {"n": 1})
    assert len(Ledger(address).entries("scoring")) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(facts=st.dictionaries(st.text(max_size=8), JSON, max_size=4), subject=st.text(max_size=30))
def test_facts_survive_the_ledger(facts: dict[str, object], subject: str) -> None:
    ledger = Ledger("sqlite://")  # in memory
    entry = ledger.append("scoring", subject, facts)
    assert ledger.entries("scoring", subject) == [entry]


def test_facts_that_are_no_json_add_no_row(address: str) -> None:
    ledger = Ledger(address)
    with pytest.raises(TypeError):
        ledger.append("scoring", "demo", {"path": Path()})
    assert ledger.entries("scoring") == []


def test_the_ledger_lies_in_the_project_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATECAST_LEDGER_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    Ledger().append("scoring", "demo", {})
    assert (tmp_path / "ledger.db").is_file()


def test_the_environment_may_name_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_LEDGER_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    monkeypatch.chdir(tmp_path)
    Ledger().append("scoring", "demo", {})
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (tmp_path / "ledger.db").exists()


def test_a_place_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        Ledger(f"sqlite:///{tmp_path}/nowhere/ledger.db")
    assert caught.value.code == "LEDGER"


def test_processes_that_write_at_once_lose_no_row(address: str) -> None:
    """The table is made by whoever comes first; four processes come at once."""
    code = (
        "import sys; from gatecast.core.ledger import Ledger; ledger = Ledger(sys.argv[1]);"
        "[ledger.append('scoring', sys.argv[2], {'n': n}) for n in range(20)]"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, f"p{i}"], stderr=subprocess.PIPE, text=True
        )
        for i in range(4)
    ]
    errors = [p.communicate()[1] for p in started]
    assert [p.returncode for p in started] == [0] * 4, errors
    entries = Ledger(address).entries("scoring")
    assert len(entries) == 80
    for i in range(4):
        assert [e.facts["n"] for e in entries if e.subject == f"p{i}"] == list(range(20))


def test_a_password_is_never_shown() -> None:
    assert "secret" not in display("postgresql://me:secret@db/ledger")
    assert "secret" not in display("https://me:secret@mlflow.example.org:5000/x")
    assert display("sqlite:///ledger.db") == "sqlite:///ledger.db"


def test_the_oldest_and_the_newest_row_of_some_kinds_are_found(address: str) -> None:
    ledger = Ledger(address)
    rows = [ledger.append(kind, "demo", {}) for kind in ("slot", "other", "missed", "other")]
    ledger.append("slot", "m4", {})
    assert ledger.first("demo", "missed", "slot") == rows[0]
    assert ledger.last("demo", "missed", "slot") == rows[2]
    assert ledger.last("demo", "slot") == rows[0]
    assert ledger.first("nobody", "slot") is ledger.last("nobody", "slot") is None


def test_of_many_keys_those_that_have_a_row_are_told(address: str) -> None:
    ledger = Ledger(address)
    for n in (3, 700, 1199):
        ledger.append("slot", "demo", {}, key=f"slot/{n}")
    assert ledger.recorded([f"slot/{n}" for n in range(1200)]) == {
        "slot/3",
        "slot/700",
        "slot/1199",
    }
    assert ledger.recorded([]) == set()
