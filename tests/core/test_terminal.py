from __future__ import annotations

import pytest

from gatecast.core import terminal


def test_numbers_stand_on_the_right() -> None:
    text = terminal.table("runs", ("run", "rows"), [("a", "1,000"), ("b", "7")], numbers=("rows",))
    assert [line.rstrip() for line in text.splitlines()][-2:] == ["  a     1,000", "  b         7"]


def test_cells_are_text_and_no_markup() -> None:
    assert "[bold]x" in terminal.table("", ("name",), [("[bold]x",)])


def test_only_a_column_that_may_wrap_takes_several_lines() -> None:
    rows = [("never on two lines", "a reason that is longer than the line")]
    text = terminal.table("", ("name", "why"), rows, wrap=("why",), width=40)
    assert "never on two lines" in text
    assert "a reason that is longer than the line" not in text
    assert all(word in text for word in rows[0][1].split())
    assert max(map(len, text.splitlines())) <= 40


def test_there_is_no_bar_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.bar(3, "slot", "backfill") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")
