"""The project folder, its params.yaml and its recipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gatecast.core.errors import ConfigError
from gatecast.core.home import home

CONF = Path("conf")


def project() -> Path:
    """The project folder: that of the script in ``pipelines/``, else this one or the nearest above it.

    Raises:
        ConfigError: PARAMS if there is none.
    """
    script, here = Path(sys.argv[0]).resolve(), Path.cwd()
    if script.parent.name == "pipelines":
        return script.parents[1]
    for folder in (here, *here.parents):
        if (folder / "conf").is_dir() and (folder / "params.yaml").is_file():
            return folder
    raise ConfigError(
        "PARAMS",
        f"{here} is in no project of gatecast: no folder above it has params.yaml and conf/.",
        "Go to the project folder, or to a folder below it.",
    )


def use_its_source(root: Path) -> None:
    """In a checkout that DVC made for an experiment, start again with its code.

    An editable install would import the project's, which may have been edited since.
    """
    source, imported = root / "src", Path(__file__).resolve().parents[2]
    if home() == root or imported == source or not (source / "gatecast").is_dir():
        return
    others = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(source), others)))
    os.execv(sys.executable, [sys.executable, *sys.argv])


def load_params() -> Mapping[str, Any]:
    """``params.yaml`` as it stands.

    Raises:
        ConfigError: PARAMS if it is not there or cannot be read.
    """
    _require_hydra()
    from omegaconf import OmegaConf

    path = Path("params.yaml")
    if not path.is_file():
        raise ConfigError(
            "PARAMS",
            "there is no params.yaml in the project folder.",
            "Restore it: git checkout params.yaml",
        )
    try:
        params = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # yaml's own errors say line and column
        raise ConfigError(
            "PARAMS", f"params.yaml cannot be read: {error}", "Correct the line it names."
        ) from None
    if not isinstance(params, dict):
        raise ConfigError(
            "PARAMS",
            "params.yaml holds no settings.",
            "Write `variants: [lstm]` and what else you decide, or git checkout params.yaml",
        )
    return {str(key): value for key, value in params.items()}


def _require_hydra() -> None:
    from importlib.util import find_spec

    if find_spec("hydra") is None:
        what = "a command needs packages that the light core does without."
        raise ConfigError("EXTRA", what, "pip install 'gatecast[mlops]'")


def recipes(group: str, folders: Iterable[Path] = (CONF,)) -> list[str]:
    """Names of the recipes of a group."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
