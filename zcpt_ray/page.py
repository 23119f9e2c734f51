"""One self-contained HTML page: sections of texts, tables that sort, pictures and folds; no address outside the page."""

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

from zcpt_ray.results import readable

NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]?inf)\s*(?:±.*|/\d+|to .*|\[.*\]|\(.*\))?\s*")
"""A cell that sorts by the number it starts with: `5.88±0.38`, `3/4`, `5.6 to 6.1`, `+0.2 [-0.1, +0.5]`, `5.63 (rank 1)`."""
MISSING = ("", "-")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Text as it is, line by line."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Picture:
    """An image in the page itself. Scripts in an SVG do not run there."""

    kind: ClassVar[str] = "picture"
    title: str
    uri: str


@dataclass(frozen=True)
class Cell:
    """`key` is the number by which it sorts, None for text and for what is missing; `anchor` is the section that it leads to."""

    text: str
    key: float | None = None
    anchor: str = ""

    @property
    def sorts_by(self) -> str:
        """The key as JavaScript reads it."""
        return repr(self.key).replace("inf", "Infinity")


@dataclass(frozen=True)
class Column:
    """A column sorts by number if all that is in it are numbers."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Rows that sort by any column."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Fold:
    """Parts that are shown when one asks for them."""

    kind: ClassVar[str] = "fold"
    title: str
    parts: "tuple[Part, ...]"


Part: TypeAlias = Text | Code | Picture | Table | Fold


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    title: str
    anchor: str
    parts: tuple[Part, ...]


def picture(title: str, content: bytes, kind: str = "svg+xml") -> Picture:
    """An image file as a part of the page."""
    return Picture(title, f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


def table(title: str, frame: pd.DataFrame, anchors: Sequence[str] = ()) -> Table:
    """A table as a part of the page; with `anchors`, one for each row, the first column leads to these sections."""
    shown, columns, cells = readable(frame), [], []
    for position, name in enumerate(frame):
        keys = [_number(value) for value in frame[name]]
        texts = [str(value) for value in shown[name]]
        numeric = any(key is not None for key in keys)
        numeric &= all(key is not None or text in MISSING for key, text in zip(keys, texts, strict=True))
        links = anchors if anchors and position == 0 else [""] * len(frame)
        columns.append(Column(str(name), numeric))
        cells.append([Cell(*cell) for cell in zip(texts, keys if numeric else [None] * len(frame), links, strict=True)])
    return Table(title, tuple(columns), tuple(zip(*cells, strict=True)))


def _number(value: object) -> float | None:
    """What a cell sorts by, if it is a number or starts with one."""
    if isinstance(value, bool | np.bool_) or value is None:
        return None
    if isinstance(value, int | float | np.number):
        return None if np.isnan(value) else float(value)
    found = NUMBER.fullmatch(str(value))
    return float(found[1]) if found else None


def render(title: str, summary: Table, sections: Sequence[Section], problems: Sequence[str]) -> str:
    """The page. All that is shown is escaped; its policy lets no script run but its own, and nothing be fetched."""
    here = files("zcpt_ray")
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
