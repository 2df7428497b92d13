"""The frame of every command: compose, judge, run, and report errors as one paragraph.

    @command(groups=("source",), reads=("as_of", "horizon"), options=Options)
    def main(config: Config, options: Options) -> None: ...

composes ``conf/config.yaml`` (``params.yaml`` included), names the recipe of each group from ``params.yaml`` unless
the command line does, reads everything by the schemas of the rooms, and only then calls ``main``. Hydra composes plain
values: that a key is known and a value in range is for the schemas to say.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatecast.cli import catalogue
from gatecast.cli.project import load_params, project, recipes, use_its_source
from gatecast.cli.words import group_of, override_key, rewritten, spelt_out
from gatecast.config import GROUPS, Config, Settings
from gatecast.core.errors import ConfigError, GatecastError, did_you_mean
from gatecast.core.schema import COMMAND_LINE, Schema, known_keys, read

_ENVIRONMENT = {
    "HYDRA_FULL_ERROR": "1",  # errors reach us, and we print them as one paragraph
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait sleep: spinning ones slow a busy machine
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


class NoOptions(Schema):
    """A command without options of its own."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: as in ``gatecast NAME`` and ``pipelines/NAME.py``.
        doc: what it does; the first line says it in a sentence.
        body: what is called with the configuration and the options.
        groups: Hydra groups whose recipes it takes. A group that ``params.yaml`` names (``source``, ``trainer``,
            ``tune``, ``sink``) may be left out on the command line.
        reads: settings of ``params.yaml`` that it reads, for its help.
        options: schema of its own options.
        argument: option that a first word without a key is the value of: ``gatecast new sales``.
    """

    name: str
    doc: str
    body: Callable[[Config, Any], None]
    groups: tuple[str, ...]
    reads: tuple[str, ...]
    options: type[Schema]
    argument: str = ""

    @property
    def summary(self) -> str:
        """The first line of what it does."""
        return self.doc.splitlines()[0]

    def __call__(self) -> None:
        """Run it with the words of the command line."""
        with report_errors():
            root = project()
            os.chdir(root)
            sys.argv[0] = str(Path(root, "pipelines", f"{self.name}.py"))
            use_its_source(root)
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is under way is ended
            words = spelt_out(sys.argv[1:], self.options, self.argument)
            if {"--help", "-h"} & set(words):
                from gatecast.cli.help import page

                print(page(self, words))
                return
            sys.argv[1:] = rewritten(words, self._recipes(words), self.options)
            _run(self, root)

    def _recipes(self, words: list[str]) -> list[str]:
        """``group=recipe`` from params.yaml for each group that the command line does not name."""
        params = load_params()
        given = {group_of(word) for word in words}
        chosen = []
        for group in self.groups:
            if group in given:
                continue
            recipe = params.get(group)
            if recipe is None:
                raise ConfigError(
                    "RECIPE",
                    f"this command needs a recipe for `{group}`.",
                    f"Add `{group}=NAME` with a name from conf/{group}/: {', '.join(recipes(group))}",
                )
            chosen.append(f"{group}={recipe}")
        return chosen


def command(
    groups: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    options: type[Schema] = NoOptions,
    argument: str = "",
) -> Callable[[Callable[[Config, Any], None]], Command]:
    """Make a :class:`Command` of a function; its module's name and docstring are the command's."""

    def decorate(body: Callable[[Config, Any], None]) -> Command:
        module = sys.modules[body.__module__]
        name = Path(str(module.__file__)).stem
        return Command(name, (module.__doc__ or "").strip(), body, groups, reads, options, argument)

    return decorate


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an error that has a code as one paragraph, and end with 2; with 130 after Ctrl-C.

    Ends quietly where the reader of the output has gone (``| head``).
    """
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except GatecastError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _run(command: Command, root: Path) -> None:
    import hydra
    import yaml
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # raised outside Hydra, which would print a line of its own
    failed: list[GatecastError | BrokenPipeError] = []

    def task(cfg: DictConfig) -> None:
        try:
            content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
            assert isinstance(content, dict)
            chosen = HydraConfig.get().runtime.choices
            names = {g: str(chosen[g]) for g in GROUPS if chosen.get(g) is not None}
            words = list(HydraConfig.get().overrides.task)
            config, options = judge(command, {str(k): v for k, v in content.items()}, names, words)
            command.body(config, options)
        except (GatecastError, BrokenPipeError) as error:
            failed.append(error)

    try:
        hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from None
    except yaml.YAMLError as error:
        what = f"a recipe cannot be read: {' '.join(str(error).split())}"
        raise ConfigError("YAML", what, "Correct the line it names.") from None
    if failed:
        raise failed[0]


def judge(
    command: Command, content: Mapping[str, Any], names: Mapping[str, str], words: list[str]
) -> tuple[Config, Any]:
    """Read what Hydra has composed by the schemas.

    Args:
        command: whose options are among it.
        content: plain values: settings, recipes by their packages, options.
        names: the chosen recipe of each group.
        words: overrides of the command line.

    Returns:
        The configuration and the command's options.

    Raises:
        ConfigError: as :func:`gatecast.core.schema.read`, naming the key and its file, or the command line.
    """
    overridden = {override_key(word) for word in words if group_of(word) is None}
    named = {key.split(".")[0] for key in overridden}
    options, packages = known_keys(command.options, []), {g.package for g in GROUPS.values()}
    settings = known_keys(Settings, [])
    mine = {key: value for key, value in content.items() if key in options and key in named}
    rest = {k: v for k, v in content.items() if k not in packages and k not in mine}
    for key in rest:
        if key not in settings:
            _refuse_key(key, command, options, settings, on_line=key in named)
    for group in names:
        package = GROUPS[group].package
        # without this line Hydra puts the recipe's settings elsewhere, and the next check would blame params.yaml
        if not isinstance(content.get(package), dict):
            raise ConfigError(
                "VALUE",
                f"conf/{group}/{names[group]}.yaml sets nothing under `{package}`.",
                f"Put `# @package {package}` on its first line, and its settings below.",
            )
    whole = read(Settings, rest, "params.yaml", overridden=overridden)
    if "variants" in command.reads or "DVC_STAGE" in os.environ:
        _require_recipes(whole.variants, COMMAND_LINE if "variants" in named else "params.yaml")
    found = {}
    for group, what in GROUPS.items():
        inside: Any = content.get(what.package)
        if group in names:
            where = f"conf/{group}/{names[group]}.yaml"
            inside = inside | ({"name": names[group]} if group == "source" else {})
            paths = {"package": f"{what.package}.", "overridden": overridden}
            found[group] = what.read(inside, where, **paths)
        elif inside is not None:
            raise ConfigError(
                "UNKNOWN-KEY",
                f"{COMMAND_LINE}: `{what.package}` is changed, but no recipe for `{group}` is chosen.",
                f"Add `{group}=NAME` with a name from conf/{group}/, or leave it out.",
            )
    choices = {group: name for group, name in names.items() if group in settings}
    config = Config(whole.model_copy(update=choices), found, names, words)
    return config, read(command.options, mine, COMMAND_LINE, overridden=overridden)


def _require_recipes(variants: list[str], where: str) -> None:
    """Raise RECIPE if a variant has none: before any work, not when the others have been trained."""
    known = recipes("model")
    for name in variants:
        if name not in known:
            raise ConfigError(
                "RECIPE",
                f"{where}: `variants` names {name}, but there is no recipe conf/model/{name}.yaml."
                f"{did_you_mean(name, known)}",
                f"Choose from: {', '.join(known)}.",
            )


def _refuse_key(
    key: str, command: Command, options: set[str], settings: set[str], on_line: bool
) -> None:
    where = COMMAND_LINE if on_line else "params.yaml"
    known = options | settings if on_line else settings
    own = (
        f"Options of `{command.name}`: {', '.join(sorted(options)) or 'none'}. " if on_line else ""
    )
    others = [f"`{name}`" for name in _having(key)] if on_line else []
    hint = f" It is an option of {', '.join(others)}." if others else did_you_mean(key, known)
    raise ConfigError(
        "UNKNOWN-KEY",
        f"{where}: there is no setting `{key}`.{hint}",
        f"{own}Settings: {', '.join(sorted(settings))}.",
    )


def _having(option: str) -> list[str]:
    """Commands that have an option of this name."""
    commands = catalogue.commands()
    return [one.name for one in commands if option in known_keys(one.options, [])]


def _explain(error: Exception) -> ConfigError:
    """Turn a Hydra or OmegaConf error into a coded paragraph that names the key and the file."""
    text = " ".join(str(error).split())
    cause = " ".join(str(error.__cause__ or "").split())
    whole = f"{text} {cause}"
    if m := re.search(r"Could not find '(\w+)/([^']+)'", whole):
        group, recipe = m.groups()
        names = recipes(group)
        return ConfigError(
            "RECIPE",
            f"there is no recipe conf/{group}/{recipe}.yaml.{did_you_mean(recipe, names)}",
            f"Choose one of: {', '.join(names)}.",
        )
    full = re.search(r"full_key: (\S+)", whole)
    key = f" `{full.group(1)}`" if full else ""
    reason = re.split(r" full_key:| object_type=", cause or text)[0]
    return ConfigError(
        "VALUE",
        f"params.yaml, the recipe or {COMMAND_LINE}:{key} cannot be used: {reason}",
        "Correct the value, or the override on the command line.",
    )
