"""The code that travels with a model: the modules of gatecast that forecast, under a name of their own.

MLflow puts the code of a model first on ``sys.path`` of the process that loads it. Called ``gatecast`` there, it would
hide the installed package, of which it is only a part, and of two models the second would run the code of the first.
So the copy is called ``gatecast_<hash of its content>``: every model runs the code that it was logged with, and
``import gatecast`` means the installed package.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# The code that forecasts, without what trains, tunes, scores and registers.
_CODE = (
    *("__init__.py", "core", "data", "models", "feed"),
    *("evaluation/__init__.py", "evaluation/predictor.py", "evaluation/table.py"),
    *("registry/__init__.py", "registry/package.py", "registry/frame_predictor.py"),
    *("registry/mlflow/__init__.py", "registry/mlflow/pyfunc.py"),
)
_IMPORT = re.compile(r"^(\s*(?:from|import) )gatecast\b", re.MULTILINE)


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with the code of a model, a package of its own name; deleted when the block ends."""
    files = [file for name in _CODE for file in _modules(_ROOT / name)]
    texts = {file.relative_to(_ROOT): file.read_text(encoding="utf-8") for file in files}
    content = "\0".join(f"{path}\0{text}" for path, text in texts.items())
    name = f"gatecast_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        for path, text in texts.items():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_text(_IMPORT.sub(rf"\g<1>{name}", text), encoding="utf-8")
        yield copy


def _modules(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
