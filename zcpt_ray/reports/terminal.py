"""Tables as the terminal shows them: they fit its width, and long cells are broken where a reader would break them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from zcpt_ray.reports.tables import readable

PIECE = re.compile(r"(?:[^|,>+ ]|[+](?=[\d.]))*(?:[|,> ]|[+](?![\d.]))*")
"""What is never broken, with the separators that end it. A plus before a digit is a sign and no separator."""
READABLE_WIDTH = 24
"""What is broken gets at least this much; where there is not so much left, the table is continued below instead."""
COLUMN_FRAME = 3
"""What a column takes beside its text: a line, and a space on either side."""


def print_table(console: Console, table: pd.DataFrame, title: str) -> None:
    """Print a table with numbers as a person reads them, no wider than the console."""
    console.print(terminal_table(readable(table), title, console.width))


def terminal_table(table: pd.DataFrame, title: str, width: int) -> RenderableType:
    """The table as rich prints it, at most `width` wide.

    An architecture is broken after `|`, `,`, `>`, `+` or a space. Where there are more columns than fit, the table is
    continued in others below, which repeat the first columns: as many as tell its rows apart.
    """
    columns = [_Column.of(table, position) for position in range(table.shape[1])]
    keys = columns[: num_keys(table)]
    if sum(column.least + COLUMN_FRAME for column in keys) > width / 2:
        keys = keys[:1]
    parts = list(_parts(columns, len(keys), width - 1))
    return Group(Text(title, style="table.title"), *(_rendered(part, width - 1) for part in parts))


def num_keys(table: pd.DataFrame) -> int:
    """How many of the first columns it takes to tell the rows apart; 1 where all of them together do not."""
    for count in range(1, table.shape[1]):
        if not table.iloc[:, :count].astype(str).duplicated().any():
            return count
    return 1


@dataclass(frozen=True)
class _Column:
    """A column: the texts of its head and its cells."""

    head: str
    cells: tuple[str, ...]
    is_text: bool

    @classmethod
    def of(cls, table: pd.DataFrame, position: int) -> "_Column":
        values = table.iloc[:, position]
        return cls(str(table.columns[position]), tuple(map(str, values)), values.dtype.kind in "OT")

    @cached_property
    def full(self) -> int:
        """The width at which nothing is broken."""
        return max(cell_len(line) for text in (self.head, *self.cells) for line in text.splitlines() or [""])

    @cached_property
    def unbreakable(self) -> int:
        """The width of the longest piece that must not be broken."""
        return max(
            (cell_len(piece.rstrip()) for text in (self.head, *self.cells) for piece in _pieces(text)), default=0
        )

    @cached_property
    def least(self) -> int:
        """The width that it needs to be read: a head may be broken wherever it can be, long cells not as often."""
        longest = max((cell_len(text) for text in self.cells), default=0)
        return max(self.unbreakable, min(longest, READABLE_WIDTH))


def _parts(columns: Sequence[_Column], num_keys: int, space: int) -> Iterator[list[_Column]]:
    """The columns of each table: the keys, and as many others as fit, at least one."""
    keys, part = list(columns[:num_keys]), list(columns[:num_keys])
    for column in columns[num_keys:]:
        if len(part) > num_keys and sum(each.least + COLUMN_FRAME for each in (*part, column)) > space:
            yield part
            part = list(keys)
        part.append(column)
    yield part


def _rendered(columns: Sequence[_Column], space: int) -> Table:
    table = Table()
    widths = _fitted(columns, space - COLUMN_FRAME * len(columns))
    for column, width in zip(columns, widths, strict=True):
        head = Text(broken(column.head, width))
        table.add_column(head, justify="left" if column.is_text else "right", width=width, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(broken(text, width)) for text, width in zip(row, widths, strict=True)))
    return table


def _fitted(columns: Sequence[_Column], space: int) -> list[int]:
    """A width for each column, together at most `space`: the widest columns give way first.

    Where there is no room even for what must not be broken, words are folded.
    """
    lower_bounds = ([c.least for c in columns], [c.unbreakable for c in columns], [1] * len(columns))
    for bounds in lower_bounds:
        for limit in range(space, 0, -1):
            widths = [max(min(column.full, limit), bound) for column, bound in zip(columns, bounds, strict=True)]
            if sum(widths) <= space:
                return widths
    return [1] * len(columns)


def broken(text: str, width: int) -> str:
    """The text in lines of at most `width`, broken after separators only: a longer piece has a line for itself."""
    lines = []
    for whole in text.splitlines() or [""]:
        line = ""
        for piece in _pieces(whole):
            if line and cell_len((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return "\n".join(lines)


def _pieces(text: str) -> list[str]:
    return [piece for piece in PIECE.findall(text) if piece]
