"""Nothing half-written is ever visible: files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def folder(path: Path, replace: bool = True) -> Iterator[Path]:
    """Build a folder beside ``path`` and put it in place when the block ends without an error.

    An unfinished folder is removed on an error, and is never called ``path``. What a killed process left beside
    ``path`` more than a day ago is removed too.

    Args:
        path: where the folder appears.
        replace: put it in the place of one that is there (which is moved aside for a moment first); if false, one
            that is there stays, and the new one is dropped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    os.chmod(building, 0o755)
    try:
        yield building
        for file in building.rglob("*"):
            _sync(file)
        _sync(building)
        try:
            os.rename(building, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if replace:
                _swap(building, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _swap(building: Path, path: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    os.replace(path, aside / "old")
    try:
        os.replace(building, path)
    except BaseException:
        os.replace(aside / "old", path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove unfinished siblings that are over a day old."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def file(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside ``path`` and put it in place, synced, when the block ends without an error.

    On an error (a full disk) the unfinished file is removed, and what was at ``path`` stays.
    """
    with _beside(path, os.replace) as handle:
        yield handle


def create(path: Path, data: bytes) -> bool:
    """Write a file whole, unless there is one: of several writers at once, one does.

    Returns:
        Whether it was this one.
    """
    try:
        with _beside(path, os.link) as handle:
            handle.write(data)
    except FileExistsError:
        if not path.exists():  # a file stands where its folder should be
            raise
        return False
    return True


@contextmanager
def _beside(path: Path, place: Callable[[str, Path], None]) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        place(name, path)
        _sync(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: sorted where it is a plain mapping, indented, NaN refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
