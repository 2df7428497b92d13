"""The frame of every command in ``pipelines/``: compose, check, run, and report errors as one paragraph.

    @entry(groups=("source",))
    def main(config: Config) -> None: ...

composes ``conf/config.yaml`` (``params.yaml`` included), names the recipe of each group from ``params.yaml``
unless the command line does, checks keys, types and ranges, and only then calls ``main``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatecast import checks
from gatecast import config as schema
from gatecast.core.errors import ConfigError, GatecastError, did_you_mean
from gatecast.data.config import Feed
from gatecast.scoring.config import Sink
from gatecast.training.config import Fit
from gatecast.tuning.config import Search

_ENVIRONMENT = {
    "HYDRA_FULL_ERROR": "1",  # errors reach us, and we print them as one paragraph
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait sleep: spinning ones slow a busy machine
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}

_RENAMED = {"from": "begin", "to": "end"}  # `from` cannot name a field of a schema


def entry(
    groups: tuple[str, ...] = (), modes: tuple[str, ...] = ()
) -> Callable[[Callable[[schema.Config], None]], Callable[[], None]]:
    """Decorate a command's ``main(config)``.

    Args:
        groups: Hydra groups the command needs. A group that ``params.yaml`` names (``source``, ``trainer``, ``tune``,
            ``sink``) may be left out on the command line.
        modes: what ``mode=`` may be; the first is what the command does without it.
    """

    def decorate(main: Callable[[schema.Config], None]) -> Callable[[], None]:
        def command() -> None:
            script = Path(sys.argv[0]).resolve()
            root = script.parents[1]
            os.chdir(root)
            sys.argv[0] = str(script)  # other ranks of a training are started by this name
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is under way is ended
            try:
                given = [_override(argument) for argument in sys.argv[1:]]
                sys.argv[1:] = _help_header(main) + _choose_recipes(given, groups)
                _run(main, root, modes)
            except GatecastError as error:
                print(f"\n{error}", file=sys.stderr)
                raise SystemExit(2) from None
            except KeyboardInterrupt:
                print("\ninterrupted", file=sys.stderr)
                raise SystemExit(130) from None

        return command

    return decorate


def _override(argument: str) -> str:
    """An argument as Hydra takes it: a setting that the model recipe leaves out may be given all the same."""
    key, equals, value = argument.partition("=")
    key = _RENAMED.get(key, key)
    return f"{'++' if key.startswith('model.') else ''}{key}{equals}{value}"


def _help_header(main: Callable[[schema.Config], None]) -> list[str]:
    doc = (sys.modules[main.__module__].__doc__ or "").strip()
    escaped = doc.replace("\\", "\\\\").replace("'", "\\'").replace("$", "")
    return [f"hydra.help.header='{escaped}'"]


def _choose_recipes(argv: list[str], groups: tuple[str, ...]) -> list[str]:
    """Add ``group=recipe`` from params.yaml for each needed group that the command line does not name."""
    from omegaconf import OmegaConf

    path = Path("params.yaml")
    if not path.is_file():
        raise ConfigError(
            "PARAMS",
            "there is no params.yaml in the project folder.",
            "Restore it: git checkout params.yaml",
        )
    try:
        params: Any = OmegaConf.load(path)
    except Exception as error:  # yaml's own errors say line and column
        raise ConfigError(
            "PARAMS", f"params.yaml cannot be read: {error}", "Correct the line it names."
        ) from None
    given = {a.lstrip("+").split("=", 1)[0] for a in argv if "=" in a}
    extra = []
    for group in groups:
        if group not in given:
            recipe = params.get(group)
            if recipe is None:
                if any(a in ("--help", "-h", "--hydra-help") for a in argv):
                    continue
                raise ConfigError(
                    "RECIPE",
                    f"this command needs a recipe for `{group}`.",
                    f"Add `{group}=NAME` with a name from conf/{group}/: {_recipes(group)}",
                )
            extra.append(f"{group}={recipe}")
    return [*extra, *argv]


def _recipes(group: str) -> str:
    return ", ".join(sorted(p.stem for p in Path("conf", group).glob("*.yaml")))


def _run(main: Callable[[schema.Config], None], root: Path, modes: tuple[str, ...]) -> None:
    import hydra
    import yaml
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ConfigStore.instance().store(name="schema", node=schema.Config)

    failed: list[GatecastError] = []  # raised outside Hydra, which would print a line of its own

    def task(cfg: DictConfig) -> None:
        try:
            run(cfg)
        except GatecastError as error:
            failed.append(error)

    def run(cfg: DictConfig) -> None:
        config = OmegaConf.to_object(cfg)
        assert isinstance(config, schema.Config)
        choices = {k: str(v) for k, v in HydraConfig.get().runtime.choices.items() if v is not None}
        for group in ("source", "trainer", "tune", "sink"):
            if group in choices:
                setattr(config, group, choices[group])
        config.variant = choices.get("model", "")
        if config.model is not None:
            from gatecast.models.recipe import read_model

            config.model = read_model(config.model, f"conf/model/{config.variant}.yaml")
        if config.feed is not None:
            config.feed.name = config.source
        checks.check(config, choices)
        checks.check_mode(config, modes)
        main(config)

    try:
        hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from None
    except yaml.YAMLError as error:
        what = f"a recipe cannot be read: {' '.join(str(error).split())}"
        raise ConfigError("YAML", what, "Correct the line it names.") from None
    if failed:
        raise failed[0]


def _explain(error: Exception) -> ConfigError:
    """Turn a Hydra or OmegaConf error into a coded paragraph that names the key and the file."""
    text = " ".join(str(error).split())
    cause = " ".join(str(error.__cause__ or "").split())
    whole = f"{text} {cause}"
    where = re.search(r"'([\w/]+)' to|[Ii]n '([\w/]+)'|merging '([\w/]+)'", whole)
    name = next((g for g in where.groups() if g), "") if where else ""
    somewhere = "params.yaml, the recipe or the command line"
    files = {"params": "params.yaml", "": somewhere, "Config": somewhere, "config": somewhere}
    file = files.get(name, f"conf/{name}.yaml")
    if m := re.search(r"Key '([^']+)' not in '([^']+)'", whole) or re.search(
        r"Key '([^']+)' is not in struct", whole
    ):
        key = m.group(1)
        full = re.search(r"full_key: (\S+)", whole)
        path = full.group(1) if full else key
        known = _known_keys(path)
        return ConfigError(
            "UNKNOWN-KEY",
            f"{file}: there is no setting `{path}`.{did_you_mean(key, known)}",
            f"Known here: {', '.join(sorted(known))}.",
        )
    if m := re.search(r"Could not find '(\w+)/([^']+)'", whole):
        group, recipe = m.groups()
        names = _recipes(group)
        return ConfigError(
            "RECIPE",
            f"there is no recipe conf/{group}/{recipe}.yaml.{did_you_mean(recipe, names.split(', '))}",
            f"Choose one of: {names}.",
        )
    full = re.search(r"full_key: (\S+)", whole)
    key = f" `{full.group(1)}`" if full else ""
    reason = re.split(r" full_key:| object_type=", cause or text)[0]
    return ConfigError(
        "VALUE",
        f"{file}:{key} cannot be used: {reason}",
        "Correct the value, or the override on the command line.",
    )


def _known_keys(path: str) -> set[str]:
    """Names of the settings beside ``path`` in the schema."""
    from omegaconf import OmegaConf

    node = OmegaConf.structured(
        schema.Config(
            feed=Feed(),
            fit=Fit(),
            search=Search(),
            storage=Sink(),
        )
    )
    for part in path.split(".")[:-1]:
        node = node.get(part.split("[")[0]) if part in node else None
        if node is None:
            return set()
    return {str(k) for k in node}
