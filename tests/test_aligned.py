"""Tables of text against those that rich draws of the same cells: sign for sign, with colours and without."""

import io
import random
from collections.abc import Sequence

import pytest
from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latmodel.report.aligned import COLOURS, aligned, cell_width, column_widths
from latmodel.report.column import Column, is_number

SIGNS = "abcdefgh0123 ×–µ→.-/ 漢字é"


def drawn_by_rich(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, styles: Sequence[str] | None, encoding: str
) -> str:
    """The same table: a line under the headings, a blank between columns."""
    table = Table(
        box=Box("    \n    \n ─  \n    \n    \n    \n    \n    \n"), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
        header_style="bold",
    )  # fmt: skip
    for i, column in enumerate(columns):
        table.add_column(
            column.heading, justify="right" if all(is_number(row[i]) for row in cells) else "left",
            no_wrap=not column.wraps, overflow="fold" if column.wraps else "crop",
        )  # fmt: skip
    for number, row in enumerate(cells):
        table.add_row(*map(Text, row), style=styles[number] if styles else None)
    console = Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace"), width=width, highlight=False,
        emoji=False, force_terminal=styles is not None, no_color=styles is None, _environ={"TERM": "xterm"},
    )  # fmt: skip
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def some_text(choose: random.Random, longest: int) -> str:
    return "".join(choose.choice(SIGNS) for _ in range(choose.randint(0, longest)))


@pytest.mark.parametrize("seed", range(60))
def test_a_table_is_the_one_that_rich_draws(seed: int) -> None:
    choose = random.Random(seed)
    count = choose.randint(1, 6)
    wrapping = choose.choice([None, choose.randrange(count)])
    columns = [Column(some_text(choose, 10), str, wraps=i == wrapping) for i in range(count - 1)]
    columns.append(Column("last" + some_text(choose, 5), str, wraps=wrapping == count - 1))  # rich draws an empty one
    cells = [
        [
            some_text(choose, 80) if column.wraps else choose.choice(["", f"{choose.random():.3f}", some_text(choose, 14)])
            for column in columns
        ]
        for _ in range(choose.randint(0, 5))
    ]  # fmt: skip
    fixed = sum(w + 2 for w, column in zip(column_widths(columns, cells), columns, strict=True) if not column.wraps)
    width = fixed + choose.randint(24, 90)
    for styles in (None, [choose.choice(list(COLOURS)) for _ in cells]):
        for encoding in ("utf-8", "latin-1"):
            ours = aligned(columns, cells, width, styles=styles, ascii_lines=encoding == "latin-1")
            assert ours == drawn_by_rich(columns, cells, width, styles, encoding)


@pytest.mark.parametrize("width", [1, 7, 30])
def test_a_single_column_is_cut_to_the_terminal(width: int) -> None:
    columns, cells = [Column("what it is called", str)], [["a long name of a model"], ["x"]]
    assert aligned(columns, cells, width) == drawn_by_rich(columns, cells, width, None, "utf-8")
    assert max(map(len, aligned(columns, cells, width).splitlines())) == min(width, 22)


def test_the_widest_of_several_columns_that_wrap_gives_way() -> None:
    columns = [Column("a", str, wraps=True), Column("b", str, wraps=True)]
    text = aligned(columns, [["one two three four", "five six"]], 20)
    assert text.splitlines() == ["a           b", "─" * 11 + " " + "─" * 8, "one two     five six", "three four"]


def test_widths_are_those_of_a_terminal() -> None:
    assert [cell_width(text) for text in ("abc", "a–µ", "漢字", "e\u0301")] == [3, 3, 4, 1]


def test_a_wide_sign_in_the_narrowest_column_ends() -> None:
    assert aligned([Column("", str, wraps=True)], [["漢字"]], 1).count("\n") >= 2
