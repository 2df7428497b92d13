"""Completion of ``gatecast`` in a shell: commands, options, recipes and settings, as ``--help`` lists them.

    source <(gatecast --completion)     # in ~/.bashrc

Hydra's own completion knows neither the options of a command nor settings that a recipe leaves out, and composes the
whole configuration each time it is asked.
"""

from __future__ import annotations

import os
from contextlib import suppress

from gatecast.cli.catalogue import COMMANDS, command
from gatecast.cli.project import project, recipes
from gatecast.core.errors import ConfigError

FLAGS = ("--help", "--version", "--completion")

# bash breaks a line at "=", too: what stands before it is not replaced, and must not be repeated
SCRIPT = """\
_gatecast() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(gatecast --complete "$line" 2>/dev/null))
    case "${line##* }" in *=*) [[ $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}") ;; esac
}
complete -o nospace -o default -F _gatecast gatecast"""

_NO_VALUE = {"text", "number", "whole number", "mapping", "settings", "any"}


def candidates(line: str) -> list[str]:
    """What the last word of a line can become; a word that is whole ends with a space.

    Args:
        line: as it stands before the cursor: ``gatecast train model=l``.
    """
    before, _, now = line.rpartition(" ")
    words = before.split()
    commands = [f"{word} " for word in (*COMMANDS, *FLAGS)]
    known = _words(words[1], words[2:], now) if len(words) > 1 else commands
    return [word for word in known if word.startswith(now)]


def _words(name: str, words: list[str], now: str) -> list[str]:
    if name not in COMMANDS:
        return []
    values = _keys(name, [*words, now])
    key, equals, _ = now.partition("=")
    if equals:
        return [f"{key}={value} " for value in values.get(key, [])]
    return [*(f"{key}=" for key in values), "--help "]


def _keys(name: str, words: list[str]) -> dict[str, list[str]]:
    """The values of each key that a command takes; none where it may be anything."""
    from gatecast.cli import help

    with suppress(ConfigError):
        os.chdir(project())
    one = command(name)
    keys = {group: recipes(group) for group in one.groups}
    for key, kind, *_ in help.rows(one, words):
        values = kind.split(" | ")
        keys.setdefault(key, [] if _NO_VALUE & {*values} else values)
    return keys
