"""Coded errors: what happened, where, and the way out.

Every error a user can cause is a :class:`GatecastError`. It prints as one paragraph::

    IngestError[DUP-TIME]: hour.csv line 4117: series 'north' has two values for ...
      The feed looks like local time at a clock change. Declare `timezone: ...`

The code in brackets never changes its meaning, so that it can be searched for.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class GatecastError(Exception):
    """An error with a stable code: what is wrong, and what to do about it.

    Args:
        code: stable upper-case code, e.g. ``DUP-TIME``.
        what: what is wrong and where (file, line, series).
        fix: what the reader should do.
    """

    def __init__(self, code: str, what: str, fix: str = "") -> None:
        super().__init__(code, what, fix)
        self.code = code
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        head = f"{type(self).__name__}[{self.code}]: {self.what}"
        return f"{head}\n  {self.fix}" if self.fix else head


def full_text(error: Exception) -> str:
    """An error for the terminal: its paragraph if it has a code, else (a fault in the program) the traceback."""
    if isinstance(error, GatecastError):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


class ConfigError(GatecastError):
    """A recipe, ``params.yaml`` or a command line says something that cannot be."""


class IngestError(GatecastError):
    """A raw feed cannot be read or breaks the contract of observations."""


class PanelError(GatecastError):
    """A panel cannot be built, or does not fit what is asked of it."""


class TrainError(GatecastError):
    """A variant cannot be trained."""


class TuneError(GatecastError):
    """A search over settings cannot be carried out."""


class EvaluationError(GatecastError):
    """A variant cannot be compared."""


class RegistryError(GatecastError):
    """The registry or a package in it cannot be trusted or reached."""


class ScoringError(GatecastError):
    """A scoring run cannot be carried out or published."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, else an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
