"""Where the store and the ledger lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecast.core.home import home


@pytest.mark.parametrize("checkout", ["tmpab12", "standalone/tmpab12", "tmpab12/teams/sales"])
def test_an_experiment_in_a_checkout_of_its_own_belongs_to_the_project(
    checkout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".dvc/tmp/exps" / checkout
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert home() == tmp_path


def test_everywhere_else_home_is_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".dvc/tmp"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert home() == folder
