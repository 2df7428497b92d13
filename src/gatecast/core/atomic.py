"""Files and folders that appear whole or not at all: nothing half-written is ever visible."""

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
    """Build a folder beside ``path`` and rename it to ``path`` when the block ends without an error.

    On an error the unfinished folder is removed. So are those that killed processes left beside ``path`` more than a
    day ago.

    Args:
        path: where the folder appears.
        replace: replace an existing folder (which is moved aside for a moment); false: keep it, and drop the new one.

    Yields:
        The folder to fill.
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
    """Write a file beside ``path`` and rename it to ``path``, synced, when the block ends without an error.

    On an error (a full disk) the unfinished file is removed, and an existing one at ``path`` stays.
    """
    with _beside(path, os.replace) as handle:
        yield handle


def create(path: Path, data: bytes) -> bool:
    """Write a file unless it exists; of several writers at the same time, one succeeds.

    Returns:
        Whether this one did.
    """
    try:
        with _beside(path, os.link) as handle:
            handle.write(data)
    except FileExistsError:
        # there is a file where its folder should be
        if not path.exists():
            raise
        return False
    return True


@contextmanager
def _beside(path: Path, publish: Callable[[str, Path], None]) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        publish(name, path)
        _sync(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented; NaN is refused (:func:`gatecast.core.numbers.finite` makes it null)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
