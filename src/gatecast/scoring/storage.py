"""Storage: a folder or any fsspec address in which files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gatecast.core import atomic
from gatecast.core.errors import ScoringError


class Storage(Protocol):
    """Files by name, in a folder or under an address."""

    address: str

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file whole, replacing one of the same name."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a file whole unless there is one of this name; false if there is."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""

    def names(self, pattern: str = "*") -> list[str]:
        """Names, relative to the folder, of the files that match a pattern; unfinished ones are left out."""

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders in a folder, from one listing; hidden ones are left out."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


def open_storage(address: str | Path) -> Storage:
    """The storage at an address."""
    text = str(address)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return Remote(text) if "://" in text else Folder(Path(text))


class Folder:
    """A folder of this machine. Files are synced before they appear, and the folder afterwards."""

    def __init__(self, path: Path) -> None:
        self.path, self.address = path, str(path)

    def write(self, name: str, data: bytes | memoryview) -> None:
        with atomic.file(self.path / name) as out:
            out.write(data)

    def create(self, name: str, data: bytes) -> bool:
        return atomic.create(self.path / name, data)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, pattern: str = "*") -> list[str]:
        found = (path.relative_to(self.path) for path in self.path.glob(pattern) if path.is_file())
        return sorted(str(p) for p in found if not any(part[0] == "." for part in p.parts))

    def folders(self, name: str = "") -> list[str]:
        try:
            with os.scandir(self.path / name) as found:
                return sorted(e.name for e in found if e.is_dir() and e.name[0] != ".")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


class Remote:
    """An object store: an object is visible once all of it is written.

    Raises:
        ScoringError: UNREACHABLE, by every method, if the store does not answer or refuses.
    """

    def __init__(self, address: str) -> None:
        import fsspec

        self.address = address.rstrip("/")
        with self._trouble():
            self.fs, self.root = fsspec.core.url_to_fs(self.address)

    def write(self, name: str, data: bytes | memoryview) -> None:
        with self._trouble():
            self.fs.pipe_file(self._path(name), bytes(data))

    def create(self, name: str, data: bytes) -> bool:
        with self._trouble():
            try:
                self.fs.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def read(self, name: str) -> bytes | None:
        with self._trouble():
            self.fs.invalidate_cache()
            try:
                return bytes(self.fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def names(self, pattern: str = "*") -> list[str]:
        with self._trouble():
            self.fs.invalidate_cache()
            found = self.fs.glob(self._path(pattern))
        begin = len(self.fs._strip_protocol(self.root).rstrip("/")) + 1
        return sorted(str(path)[begin:] for path in found)

    def folders(self, name: str = "") -> list[str]:
        with self._trouble():
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(self._path(name).rstrip("/"), detail=True)
            except FileNotFoundError:
                return []
        paths = (e["name"].rstrip("/") for e in found if e["type"] == "directory")
        names = (path.rpartition("/")[2] for path in paths)
        return sorted(name for name in names if name[0] != ".")

    def remove(self, name: str) -> None:
        with self._trouble():
            if self.fs.exists(self._path(name)):
                self.fs.rm_file(self._path(name))

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store has errors of its own
            said = " ".join(str(error).split()) or type(error).__name__
            raise ScoringError(
                "UNREACHABLE",
                f"{self.address} does not answer, or refuses: {said}",
                "Look at the address, the credentials and the network, then run the command again: complete shard"
                " files are used then. For s3:// and gs:// addresses: pip install 'gatecast[s3]' or 'gatecast[gcs]'.",
            ) from None

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"
