"""One self-contained HTML page: texts, tables that sort, pictures and folds; it holds no address but its own."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar, TypeAlias

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from zcpt_ray.reports.tables import readable

NUMERIC_CELL = re.compile(r"\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]?inf)\s*(?:±.*|/\d+|to .*|\[.*\]|\(.*\))?\s*")
"""A cell that sorts by the number it starts with.

So do `5.88±0.38`, `3/4`, `5.6 to 6.1`, `+0.2 [-0.1, +0.5]` and `5.63 (rank 1)`.
"""
MISSING_CELLS = ("", "-")


@dataclass(frozen=True)
class PageText:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class PageCode:
    """A text as it is, line by line."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class PagePicture:
    """An image in the page itself. Scripts in an SVG do not run there."""

    kind: ClassVar[str] = "picture"
    title: str
    uri: str


@dataclass(frozen=True)
class TableCell:
    """A cell that sorts by `key`, None for text and for what is missing, and leads to the section `anchor`."""

    text: str
    key: float | None = None
    anchor: str = ""

    @property
    def sorts_by(self) -> str:
        """The key as JavaScript reads it."""
        return repr(self.key).replace("inf", "Infinity")


@dataclass(frozen=True)
class TableColumn:
    """A column sorts by number if all that is in it are numbers."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class PageTable:
    """Rows that sort by any column."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[TableCell, ...], ...]


@dataclass(frozen=True)
class PageFold:
    """Parts that are shown when one asks for them."""

    kind: ClassVar[str] = "fold"
    title: str
    parts: "tuple[PagePart, ...]"


PagePart: TypeAlias = PageText | PageCode | PagePicture | PageTable | PageFold


@dataclass(frozen=True)
class PageSection:
    """A chapter of the page."""

    title: str
    anchor: str
    parts: tuple[PagePart, ...]


def picture(title: str, content: bytes, kind: str = "svg+xml") -> PagePicture:
    """An image file as a part of the page."""
    return PagePicture(title, f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


def table(title: str, frame: pd.DataFrame, anchors: Sequence[str] = ()) -> PageTable:
    """A table as a part of the page; with `anchors`, one for each row, the first column leads to these sections."""
    shown, columns, cells = readable(frame), [], []
    for position, name in enumerate(frame):
        texts = [str(value) for value in shown[name]]
        keys = _keys(list(frame[name]), texts)
        links = anchors if anchors and position == 0 else [""] * len(frame)
        columns.append(TableColumn(str(name), any(key is not None for key in keys)))
        cells.append([TableCell(*cell) for cell in zip(texts, keys, links, strict=True)])
    return PageTable(title, tuple(columns), tuple(zip(*cells, strict=True)))


def _keys(values: Sequence[object], texts: Sequence[str]) -> list[float | None]:
    """What the cells of a column sort by: numbers, if there is nothing else in it but what is missing."""
    keys = [_number(value) for value in values]
    numeric = all(key is not None or text in MISSING_CELLS for key, text in zip(keys, texts, strict=True))
    return keys if numeric else [None] * len(keys)


def _number(value: object) -> float | None:
    """What a cell sorts by, if it is a number or starts with one."""
    if isinstance(value, bool | np.bool_) or value is None:
        return None
    if isinstance(value, int | float | np.number):
        return None if np.isnan(value) else float(value)
    found = NUMERIC_CELL.fullmatch(str(value))
    return float(found[1]) if found else None


def render(title: str, summary: PageTable, sections: Sequence[PageSection], problems: Sequence[str]) -> str:
    """The page. All that is shown is escaped; its policy lets no script run but its own, and nothing be fetched."""
    here = files("zcpt_ray.reports")
    style, script = ((here / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    template = environment.from_string((here / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        summary=summary,
        sections=sections,
        problems=problems,
        style=style,
        script=script,
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
