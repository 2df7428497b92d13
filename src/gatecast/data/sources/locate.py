"""Raw files: finding, downloading, opening and hashing them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatecast.core.errors import IngestError
from gatecast.data.config import RawFile, data_dir

RAW = Path("data/raw")


@dataclass(frozen=True)
class Located:
    """A raw file: a short name for messages, and its address."""

    name: str
    address: str

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith((".parquet", ".pq"))


def locate(file: RawFile) -> list[Located]:
    """Find the file(s) of a recipe entry: data folder, ``data/raw``, project folder, then download.

    Raises:
        IngestError: FILE-MISSING, FILE-HASH, OFFLINE or SCHEME, with what to do.
    """
    located = _locate_remote(file) if "://" in file.path else _locate_local(file)
    if file.sha256:
        for found in located:
            if sha256(found.address) != file.sha256:
                raise _hash_error(file, found.address)
    return located


def in_raw(address: str) -> bool:
    """Whether an address is that of a file in ``data/raw``."""
    return "://" not in address and Path(address).absolute().is_relative_to(RAW.absolute())


def _locate_local(file: RawFile) -> list[Located]:
    tried = []
    for base in (data_dir(), RAW, Path()):
        if base is None:
            continue
        # an absolute path stays as it is
        whole = base / file.path
        if whole.is_file():
            return [Located(whole.name, str(whole))]
        anchor = Path(whole.anchor)
        found = sorted(m for m in anchor.glob(str(whole.relative_to(anchor))) if m.is_file())
        if found:
            several = len(found) > 1 and not Path(file.path).is_absolute()
            return [Located(str(m.relative_to(base)) if several else m.name, str(m)) for m in found]
        tried.append(str(whole))
    if file.url:
        return [_download(file)]
    raise IngestError(
        "FILE-MISSING",
        f"there is no file {file.path} (looked at: {', '.join(dict.fromkeys(tried))}).",
        "Put it there, set GATECAST_DATA_DIR to the folder that holds it, or correct `files` in the source recipe.",
    )


def _locate_remote(file: RawFile) -> list[Located]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(file.path)
        matches = [path] if fs.exists(path) else sorted(fs.glob(path))
    except ImportError as error:
        raise IngestError(
            "SCHEME", f"{file.path}: {error}", "Install the package it names into .venv."
        ) from None
    except (OSError, ValueError) as error:
        raise IngestError(
            "FILE-MISSING",
            f"{file.path} cannot be reached: {error}",
            "Check the address and the credentials.",
        ) from None
    if not matches:
        raise IngestError(
            "FILE-MISSING",
            f"there is no file at {file.path}.",
            "Correct `files` in the source recipe.",
        )
    return [Located(str(m).rsplit("/", 1)[-1], str(fs.unstrip_protocol(m))) for m in matches]


def _download(file: RawFile) -> Located:
    """Fetch a public file into ``data/raw``, whole or not at all."""
    target = RAW / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"downloading {file.url}")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".download-", delete=False) as out:
        arrived = Path(out.name)
        try:
            with urllib.request.urlopen(str(file.url), timeout=60) as response:
                shutil.copyfileobj(response, out)
                promised = response.headers.get("Content-Length")
            out.flush()
            if promised and arrived.stat().st_size != int(promised):
                raise OSError(f"{arrived.stat().st_size} of {promised} bytes arrived")
            if file.sha256 and sha256(str(arrived)) != file.sha256:
                raise _hash_error(file, str(file.url))
            arrived.chmod(0o644)
            arrived.replace(target)
        except (urllib.error.URLError, OSError) as error:
            raise IngestError(
                "OFFLINE",
                f"{file.path} is not here, and {file.url} cannot be fetched ({error}).",
                f"Put the file into data/raw/, or set GATECAST_DATA_DIR to a folder that holds {file.path}.",
            ) from None
        finally:
            arrived.unlink(missing_ok=True)
    return Located(target.name, str(target))


def open_raw(address: str, decompress: bool = False) -> Any:
    """Open a file for reading bytes; ``decompress``: by its ending (.gz, .zip, .xz, …)."""
    import fsspec

    return fsspec.open(address, "rb", compression="infer" if decompress else None).open()


def sha256(address: str) -> str:
    """Hex digest of a file's bytes."""
    with open_raw(address) as handle:
        digest = hashlib.sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _hash_error(file: RawFile, where: str) -> IngestError:
    return IngestError(
        "FILE-HASH",
        f"{where} is not the file that the recipe names: its sha256 differs.",
        f"Fetch {file.path} again, or correct `sha256` in the recipe if the new file is meant.",
    )
