"""The champion's package that worker processes load: whatever happened to it, the next run has the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gatecast.data.config import Feed
from gatecast.registry import champion, package
from gatecast.registry.champion import Champion, keep

DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a file is missing": lambda folder: (folder / "weights.safetensors").unlink(),
    "another file lies there": lambda folder: (folder / ".DS_Store").write_text("x"),
    "a file has changed": lambda folder: (folder / "package.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_package_is_fetched_anew(
    daily_feed: Feed, promote: Callable[[Feed], Champion], damage: str
) -> None:
    best, folder = promote(daily_feed), Path("kept")
    keep(best, folder)
    DAMAGES[damage](folder)
    keep(best, folder)
    assert package.digest(folder) == best.digest


def test_the_later_of_two_first_ones_leaves_the_package_under_the_others_workers(
    daily_feed: Feed, promote: Callable[[Feed], Champion], monkeypatch: pytest.MonkeyPatch
) -> None:
    best, folder, fetched = promote(daily_feed), Path("kept"), champion._fetched
    first: list[int] = []

    @contextmanager
    def meanwhile(model: str, version: int, digest: str) -> Iterator[Path]:
        monkeypatch.setattr(champion, "_fetched", fetched)
        keep(best, folder)
        first.append(folder.stat().st_ino)
        with fetched(model, version, digest) as found:
            yield found

    monkeypatch.setattr(champion, "_fetched", meanwhile)
    keep(best, folder)
    assert [folder.stat().st_ino] == first
