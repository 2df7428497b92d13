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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatecast.cli.hydra_errors import explain
from gatecast.cli.judge import Composed, judge
from gatecast.cli.project import load_params, project, recipes, use_its_source
from gatecast.cli.words import Line, group_of, line, rewritten, spelt_out
from gatecast.config import Config, Job
from gatecast.core.errors import ConfigError, GatecastError
from gatecast.core.schema import COMMAND_LINE, Schema, no_choice

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
        sweeps: what a multirun may give several values, because each has files of its own; None: anything.
        dry: an option with which it writes nothing.
    """

    name: str
    doc: str
    body: Callable[[Config, Any], None]
    groups: tuple[str, ...]
    reads: tuple[str, ...]
    options: type[Schema]
    argument: str = ""
    sweeps: tuple[str, ...] | None = ()
    dry: str | None = None

    @property
    def summary(self) -> str:
        """The first line of what it does."""
        return self.doc.splitlines()[0]

    def __call__(self) -> None:
        """Run it with the words of the command line."""
        with report_errors():
            here, root = Path.cwd(), project()
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
            given = line(words, here, root / "pipelines")
            _run(self, root, self._for_hydra(given))

    def _for_hydra(self, given: Line) -> Line:
        """Hand the command line to Hydra, in its order and with the recipes that params.yaml names."""
        overrides = given.overrides
        chosen: dict[str, str] = {}
        if given.composes:
            chosen = self._recipes(overrides)
            words = [f"{group}={recipe}" for group, recipe in chosen.items()]
            overrides = rewritten(overrides, words, self.options)
        elif not given.hydra.shell_completion:
            overrides = []
        if given.multirun and not any(
            word.startswith("hydra.output_subdir=") for word in overrides
        ):
            overrides = [*overrides, "hydra.output_subdir=.hydra"]  # says which job a folder is of
        sys.argv[1:] = [*overrides, *given.flags]
        return replace(given, overrides=overrides, by_params=frozenset(chosen))

    def _recipes(self, overrides: list[str]) -> dict[str, str]:
        """The recipe in params.yaml of each group that the command line does not name."""
        params = load_params()
        given = {group_of(word) for word in overrides} | {
            word.removeprefix("~") for word in overrides
        }
        chosen = {}
        for group in self.groups:
            recipe = params.get(group)
            if group in given or recipe is None:
                continue
            if not re.fullmatch(r"[\w./-]+", str(recipe)):
                raise no_choice(group, recipe, recipes(group), "params.yaml")
            chosen[group] = str(recipe)
        return chosen


def command(
    groups: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    options: type[Schema] = NoOptions,
    argument: str = "",
    sweeps: tuple[str, ...] | None = (),
    dry: str | None = None,
) -> Callable[[Callable[[Config, Any], None]], Command]:
    """Make a :class:`Command` of a function; its module's name and docstring are the command's."""

    def decorate(body: Callable[[Config, Any], None]) -> Command:
        module = sys.modules[body.__module__]
        name = Path(str(module.__file__)).stem
        return Command(
            name,
            (module.__doc__ or "").strip(),
            body,
            groups,
            reads,
            options,
            argument,
            sweeps,
            dry,
        )

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


def _run(command: Command, root: Path, line: Line) -> None:
    import hydra

    folders = [_shown(Path(line.hydra.config_path or root / "conf"), root)]
    if line.hydra.config_dir:
        folders.insert(0, _shown(Path(line.hydra.config_dir), root))
    # raised outside Hydra, which would print lines of its own
    failed: list[Exception] = []

    def task(cfg: Any) -> None:
        try:
            _work(command, root, line, cfg, folders)
        except Exception as error:
            if line.multirun and isinstance(error, GatecastError):
                _report_job(error, failed)
            failed.append(error)

    # by which Hydra names the job
    task.__module__ = f"gatecast.cli.commands.{command.name}"
    try:
        hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")(task)()
    except Exception as error:
        raise explain(error, line, folders) from None
    for fault in failed:
        if not (line.multirun and isinstance(fault, GatecastError)):
            raise fault
    if failed:
        raise SystemExit(2)


def _shown(folder: Path, root: Path) -> Path:
    """A folder as messages name it."""
    return folder.relative_to(root) if folder.is_relative_to(root) else folder


def _work(command: Command, root: Path, line: Line, cfg: Any, folders: list[Path]) -> None:
    """Do the command's work with what Hydra has composed."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    hydra = HydraConfig.get()
    words = _words(hydra.overrides.task)
    choices = {group: str(name) for group, name in hydra.runtime.choices.items() if name}
    composed = Composed({}, choices, words, line.by_params, folders, str(hydra.job.config_name))
    try:
        content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explain(error, line, folders, composed.where) from None
    assert isinstance(content, dict)
    composed = replace(composed, content={str(k): v for k, v in content.items()})
    if Path.cwd() != root:
        raise ConfigError(
            "CHDIR",
            f"{composed.where('hydra.job.chdir', COMMAND_LINE)}: `hydra.job.chdir` is true, but gatecast reads and"
            " writes below the project folder.",
            "Leave it out: a job of a multirun has its folder all the same.",
        )
    config, options = judge(command, composed)
    if line.multirun:
        config = replace(config, job=_job(command, line, hydra, options))
        # ranks of a training that this job starts take part in it alone, not in a multirun
        sys.argv[1:] = [
            *words,
            *(w for w in _words(hydra.overrides.hydra) if not w.startswith("hydra.mode")),
        ]
    command.body(config, options)


def _words(overrides: Any) -> list[str]:
    """Overrides as they were written: ``seed=${nope}`` is not resolved."""
    from omegaconf import OmegaConf

    return list(map(str, OmegaConf.to_container(overrides, resolve=False) or ()))


def _job(command: Command, line: Line, hydra: Any, options: Any) -> Job:
    """This job of a multirun.

    Raises:
        ConfigError: SWEEP if another one would write the same files.
    """
    swept = line.swept() | set(hydra.sweeper.get("params") or {})
    same = sorted(swept - set(command.sweeps or ()))
    if command.sweeps is not None and same and not getattr(options, command.dry or "", False):
        apart = f" Only {', '.join(command.sweeps)} may have several." if command.sweeps else ""
        dry = f" or add {command.dry}=true, which writes nothing," if command.dry else ""
        raise ConfigError(
            "SWEEP",
            f"`{same[0]}` has several values, but all jobs of {command.name} write the same files.{apart}",
            f"Give one value{dry} or call {command.name} once for each, and keep what it has written.",
        )
    return Job(Path(os.path.relpath(hydra.runtime.output_dir)), swept)


def _report_job(error: GatecastError, before: list[Exception]) -> None:
    """Print the error of a job when it fails: the others go on."""
    from hydra.core.hydra_config import HydraConfig

    if str(error) in map(str, before):
        return
    hydra = HydraConfig.get()
    print(
        f"\njob {hydra.job.num} ({' '.join(_words(hydra.overrides.task))}): {error}",
        file=sys.stderr,
        flush=True,
    )
