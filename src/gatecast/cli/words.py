"""The words of a command line, as Hydra's override grammar has them.

seed=3  model.hidden_size=32   a value: ours, see :func:`rewritten`
model=lstm                     a recipe of a group
+a=1  ++a=1  ~a                Hydra's own marks: left alone
-m  --cfg job                  flags, in any order with the others: Hydra gets them last
"""

from __future__ import annotations

import re
import types
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from gatecast.config import GROUPS, Settings
from gatecast.core.errors import ConfigError, did_you_mean
from gatecast.core.schema import COMMAND_LINE, Schema, fields
from gatecast.models.renamed import NEW_NAMES, remark

_QUOTED = re.compile(r"""'([^'\\]|\\.)*'|"([^"\\]|\\.)*\"""")
_TAKES_A_VALUE = re.compile(
    r"--(cfg|package|config-path|config-name|config-dir|experimental-rerun)|-(c|p|cp|cn|cd)"
)
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_OF_MODELS = ("model", "search.space")
_ONE_THRESHOLD = ("feed.task.event", "model.event")


def override_key(word: str) -> str:
    """``"++model.hidden_size=32"`` -> ``"model.hidden_size"``."""
    return word.lstrip("+~").split("=", 1)[0]


def group_of(word: str) -> str | None:
    """The group whose recipe a word chooses, or None."""
    key = override_key(word).split("@")[0].split(":")[0]
    return key if key in GROUPS and not word.startswith("-") and "=" in word else None


def spelt_out(words: list[str], options: type[Schema], argument: str) -> list[str]:
    """The command line with every option as ``key=value``.

    Args:
        words: of the command line, such as ``["sales", "--from", "sales.csv"]``.
        options: of the command.
        argument: option that a first word without a key is the value of; empty: none.
    """
    out: list[str] = []
    for word in words:
        before = out[-1] if out else ""
        key = word.removeprefix("--").partition("=")[0]
        if argument and not out and not word.startswith(("-", "+", "~")) and "=" not in word:
            word = f"{argument}={word}"
        elif before.startswith("--") and before[2:] in fields(options) and word[:1] != "-":
            word = f"{out.pop()[2:]}={word}"
        elif word.startswith("--") and "=" in word and key in fields(options):
            word = word[2:]
        out.append(word)
    return out


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes:
        overrides: what it sets.
        flags: Hydra's, each followed by its value.
        hydra: the flags as Hydra reads them.
        by_params: groups whose recipe is not among what it sets, but named by params.yaml.
    """

    overrides: list[str]
    flags: list[str]
    hydra: Namespace
    by_params: frozenset[str] = frozenset()

    @property
    def composes(self) -> bool:
        """Whether Hydra composes the configuration as the command has it."""
        flags = self.hydra
        return not (flags.hydra_help or flags.shell_completion or flags.experimental_rerun)

    @property
    def multirun(self) -> bool:
        """Whether the command runs once for each combination of what is swept."""
        return bool(self.hydra.multirun) or "hydra.mode=MULTIRUN" in self.overrides

    def swept(self) -> frozenset[str]:
        """Keys that have several values, in a multirun."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        if not self.multirun:
            return frozenset()
        parsed = OverridesParser.create().parse_overrides(self.overrides)
        keys = (str(one.key_or_group) for one in parsed if one.is_sweep_override())
        return frozenset(key.removeprefix("hydra.sweeper.params.") for key in keys)


def line(words: list[str], here: Path, scripts: Path) -> Line:
    """Tell overrides from flags, whatever their order.

    Args:
        words: of the command line.
        here: folder in which it was written, and to which ``--config-dir`` is relative.
        scripts: folder of the scripts, to which ``--config-path`` is relative.

    Raises:
        ConfigError: OVERRIDE for a word that sets nothing, FLAG for one that Hydra does not have.
    """
    from hydra._internal.utils import get_args_parser

    overrides: list[str] = []
    flags: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flags.append(word)
        optional = word in ("--info", "-i") and rest and rest[0] in _INFO
        if rest and (_TAKES_A_VALUE.fullmatch(word) or optional):
            flags.append(rest.pop(0))
    for word in overrides:
        _require_value(word)
    overrides = [_plain_choice(word) for word in overrides]
    parsed, unknown = get_args_parser().parse_known_args(flags)
    for stray in (*unknown, *parsed.overrides, *(word for word in flags if word == "--")):
        _refuse_flag(stray)
    for flag, base in (("config_dir", here), ("config_path", scripts)):
        folder = getattr(parsed, flag)
        if folder is not None and not folder.startswith("pkg://"):
            setattr(parsed, flag, str((base / folder).resolve()))
            flags += [f"--{flag.replace('_', '-')}", getattr(parsed, flag)]
    return Line(overrides, flags, parsed)


def _require_value(word: str) -> None:
    """Refuse ``lstm`` for ``model=lstm``, and a key without its value."""
    from gatecast.cli.project import recipes

    if re.match(r"[^=]+=|~.", word):
        return
    groups = [group for group in GROUPS if word in recipes(group)]
    known = {name for group in GROUPS for name in recipes(group)} | {*GROUPS, *fields(Settings)}
    key = override_key(word)
    if groups:
        way = " or ".join(f"{group}={word}" for group in groups)
        hint = ""
    else:
        way = f"{key or 'KEY'}=VALUE"
        hint = did_you_mean(word, known - {word})
    raise ConfigError("OVERRIDE", f"{COMMAND_LINE}: `{word}` sets nothing.{hint}", f"Write {way}")


def _plain_choice(word: str) -> str:
    """An override that chooses a recipe, if it does: ``~model`` for none, which the command refuses or not.

    Raises:
        ConfigError: VALUE for a list.
    """
    group = group_of(word)
    value = word.partition("=")[2]
    if group and value.startswith("["):
        raise several(group, value)
    return f"~{group}" if group and value in ("", "null") else word


def several(key: str, value: str) -> ConfigError:
    """The error for several values where there is one."""
    plain = re.sub(r"[\[\]\s]", "", value)
    way = f"`-m {key}={plain}` runs once for each."
    if key not in GROUPS:
        way += f" A list is written '{key}=[{plain}]'."
    return ConfigError("VALUE", f"{COMMAND_LINE}: `{key}={value}` is several values.", way)


def _refuse_flag(flag: str) -> None:
    key = flag.lstrip("-")
    plain = key.split("=")[0].split(".")[0]
    if plain in GROUPS or plain in fields(Settings):
        fix = f"Write {key if '=' in key else f'{key}=VALUE'}"
    else:
        fix = "A setting is written key=value; --help lists them, --hydra-help the flags of Hydra."
    raise ConfigError("FLAG", f"{COMMAND_LINE}: there is no flag {flag}.", fix)


def rewritten(overrides: list[str], chosen: list[str], options: type[Schema]) -> list[str]:
    """The overrides for Hydra.

    A value is set whether or not its recipe names the key (``++``). A text option is quoted, so that it may hold any
    characters. An event takes the place of the recipe's: Hydra alone would merge the two thresholds. Old names of
    model settings become those of today. They keep their order, behind the chosen recipes.

    Args:
        overrides: of the command line.
        chosen: ``group=recipe`` for groups that it does not name.
        options: of the command.
    """
    texts = {key for key, field in fields(options).items() if _is_text(field.annotation)}
    optional = {key for key in texts if fields(options)[key].default is None}
    out: list[str] = list(chosen)
    for word in overrides:
        word = _with_new_name(word)
        key, _, value = word.partition("=")
        plain = not word.startswith(("+", "~")) and not re.match(r"hydra[./@]", key)
        if plain and group_of(word) is None:
            if key in texts and not (key in optional and value == "null"):
                value = _quoted(value)
            if key in _ONE_THRESHOLD:
                # a sweep keeps one word per key and mark: two marks
                out.append(f"++{key}=null")
                word = f"+{key}={value}"
            else:
                word = f"++{key}={value}"
        out.append(word)
    return out


def _is_text(annotation: Any) -> bool:
    """Whether a setting is a free text: ``Text``, ``str | None``; not one of several names, and no list."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_text(args[0])
    if origin in (Union, types.UnionType):
        return any(map(_is_text, args))
    return annotation is str


def _quoted(value: str) -> str:
    """A text in Hydra's quotes, unless it has some: what stands between them is taken as it is."""
    if _QUOTED.fullmatch(value):
        return value
    # backslashes count only before a quote or an interpolation
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    value = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + (m[2] and "\\'"), value)
    return f"'{value}'"


def _with_new_name(word: str) -> str:
    """An override of a model setting by the name of today, with a printed remark if it had another."""
    key = override_key(word)
    for package in _OF_MODELS:
        old, *below = key.removeprefix(f"{package}.").split(".")
        if word.startswith("-") or not key.startswith(f"{package}.") or old not in NEW_NAMES:
            continue
        remark(COMMAND_LINE, {f"{package}.{old}": f"{package}.{NEW_NAMES[old]}"})
        new = ".".join([package, NEW_NAMES[old], *below])
        return word.replace(key, new, 1)
    return word
