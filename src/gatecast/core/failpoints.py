"""Points at which tests can make a process die, to show that nothing is lost there.

    failpoints.reach("promotion: version registered")

does nothing, unless the environment variable ``GATECAST_FAILPOINT`` has this very name: then the process ends here as a
killed one does, without clean-up. Where ``GATECAST_FAILPOINT_ONCE`` names a file, only the process dies
that removes it.
"""

from __future__ import annotations

import os
from pathlib import Path

# Exit status of a process that ended at a failpoint.
DIED = 70

PROMOTION = (
    "promotion: lease taken",
    "promotion: settled",
    "promotion: judged",
    "promotion: version registered",
    "promotion: decision noted",
    "promotion: version tagged",
    "promotion: previous moved",
    "promotion: champion moved",
    "promotion: move noted",
)

SCORING = (
    "scoring: champion resolved",
    "scoring: snapshot written",
    "scoring: lease taken",
    "scoring: begin noted",
    "scoring: part written",
    "scoring: part receipted",
    "scoring: parts complete",
    "scoring: lease checked",
    "scoring: published",
    "scoring: noted",
)

CLOCK = ("clock: lease taken", "clock: slot scored", "clock: slot noted")

# Of staged shard files into a database, on the way to "scoring: published".
LOADING = (
    "loading: run claimed",
    "loading: rows loaded",
    "loading: committed",
)


def reach(name: str) -> None:
    """End the process if the environment names this point."""
    if os.environ.get("GATECAST_FAILPOINT") != name:
        return
    if once := os.environ.get("GATECAST_FAILPOINT_ONCE"):
        try:
            Path(once).unlink()
        except FileNotFoundError:
            return
    os._exit(DIED)
