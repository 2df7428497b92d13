"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gatecast.core import atomic


def names(path: Path) -> list[str]:
    """Everything in a folder, hidden files included."""
    return sorted(p.name for p in path.iterdir())


def test_a_folder_is_not_there_before_it_is_complete(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "out") as building:
        (building / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out/a").read_text() == "1"
    assert names(tmp_path) == ["out"]


def test_a_folder_replaces_the_one_before_it_wholly(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic.folder(tmp_path / "out") as building:
            (building / name).touch()
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_folder_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    with atomic.folder(tmp_path / "out") as building:
        (building / "old").touch()

    def fail() -> None:
        with atomic.folder(tmp_path / "out") as building:
            (building / "half").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["out"]


def test_an_error_in_the_first_folder_leaves_none(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic.folder(tmp_path / "out") as building:
            (building / "half").touch()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert names(tmp_path) == []


def test_a_folder_may_hold_folders_and_its_parents_are_made(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "a/b/out") as building:
        (building / "deep").mkdir()
        (building / "deep/x").write_text("1")
    assert (tmp_path / "a/b/out/deep/x").read_text() == "1"


def test_others_may_read_a_finished_folder_and_file(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "out"):
        pass
    atomic.write_text(tmp_path / "file", "x")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_text_is_utf8_and_replaces_what_was_there(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a/file", "first")
    atomic.write_text(tmp_path / "a/file", "é🚲\n")
    assert (tmp_path / "a/file").read_bytes() == "é🚲\n".encode()
    assert names(tmp_path / "a") == ["file"]


def test_text_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(tmp_path / "file", "half \ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": {"ü": "🚲"}, "t": True}
    atomic.write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert "🚲" in text
    assert text.endswith("\n")


@pytest.mark.parametrize("content", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}])
def test_json_that_is_none_leaves_the_file_as_it_was(
    tmp_path: Path, content: dict[str, object]
) -> None:
    atomic.write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        atomic.write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert names(tmp_path) == ["x.json"]


def test_a_folder_that_is_written_once_is_not_replaced(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with atomic.folder(tmp_path / "out", replace=False) as out:
            (out / "a").write_text(text)
    assert (tmp_path / "out" / "a").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_writer_left_is_swept_after_a_day(tmp_path: Path) -> None:
    old, young, other = (
        tmp_path / name for name in (".out-abcd1234", ".out-efgh5678", ".other-abcd1234")
    )
    for left in (old, young, other):
        left.mkdir()
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    with atomic.folder(tmp_path / "out") as out:
        (out / "a").touch()
    assert {p.name for p in tmp_path.iterdir()} == {"out", ".out-efgh5678", ".other-abcd1234"}


def test_a_file_is_not_there_before_it_is_complete(tmp_path: Path) -> None:
    with atomic.file(tmp_path / "out") as handle:
        handle.write(b"new")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_file_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def write() -> None:
        with atomic.file(tmp_path / "out") as handle:
            handle.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert (tmp_path / "out").read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


def test_an_unfinished_file_of_yesterday_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".out-abcdefgh"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 90_000,) * 2)
    atomic.write_text(tmp_path / "out", "whole")
    assert names(tmp_path) == ["out"]


def test_a_file_in_the_place_of_a_folder_is_no_earlier_creator(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="a"):
        atomic.create(tmp_path / "a" / "b", b"")


def test_of_several_creators_at_once_one_creates_and_the_others_are_told(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: atomic.create(tmp_path / "a", bytes([n])), range(8)))
    assert sum(made) == 1
    assert (tmp_path / "a").read_bytes() == bytes([made.index(True)])
    assert names(tmp_path) == ["a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
