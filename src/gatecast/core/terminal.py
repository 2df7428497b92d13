"""What the terminal shows: tables as plain text, and progress bars.

print(terminal.table("runs", ("run", "rows"), [("a", "1,000")], numbers=("rows",)))

with terminal.bar(len(slots), "slot", "backfill") as bar:
    for slot in slots:
        ...
        bar.update()
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Collection[str] = (),
    wrap: Collection[str] = (),
    width: int = 120,
) -> str:
    """A table as plain text.

    Args:
        title: above it.
        columns: their names.
        rows: one cell per column each.
        numbers: columns to align on the right.
        wrap: columns whose cells take several lines where the table would be too wide.
        width: characters of a line at most.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        view.add_column(
            Text(name), justify="right" if name in numbers else "left", no_wrap=name not in wrap
        )
    for row in rows:
        # cells are text, not markup: "[b]" stays as it is
        view.add_row(*(Text(cell) for cell in row))
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(view)
    return out.getvalue().rstrip()


def bar(
    total: int,
    unit: str,
    label: str = "",
    start: int = 0,
    keep: bool = True,
    hidden: bool = False,
) -> tqdm[Any]:
    """A progress bar with the rate and the time left, on stderr where that is a terminal.

    Args:
        total: units of work.
        unit: what is counted.
        label: before the bar.
        start: units that are done already.
        keep: leave the bar on the screen when it is closed.
        hidden: show none, on a terminal either.
    """
    from tqdm import tqdm

    # None: hidden unless stderr is a terminal
    disable = True if hidden else None
    return tqdm(total=total, unit=unit, desc=label, initial=start, leave=keep, disable=disable)
