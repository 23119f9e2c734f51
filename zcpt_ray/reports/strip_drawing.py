"""The drawing of a chain of layers: a box for each, in rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.path import Path

from zcpt_ray.arch import Graph
from zcpt_ray.reports.strokes import NO_OP_COLOUR, arrow, box

STRIP_WIDTH = 11.0
"""Inches."""
LAYERS_PER_ROW = 8
"""At most."""
INPUT_SIZE = (0.6, 0.4)
"""Width and height of the box of the input."""
MARGIN = 0.1


@dataclass
class StripDrawing:
    """A box per layer from the input to the output, in rows: see `box_size`."""

    links: Graph
    per_row: int = field(init=False)

    def __post_init__(self) -> None:
        rows = -(-len(self.links) // LAYERS_PER_ROW)
        self.per_row = -(-len(self.links) // rows)

    @property
    def width(self) -> float:
        """Inches."""
        return STRIP_WIDTH

    @property
    def height(self) -> float:
        """Inches."""
        return self._row_height * -(-len(self.links) // self.per_row)

    @property
    def _row_height(self) -> float:
        return max(box_size(op)[1] for _, _, op in self.links) + 0.6

    def draw(self, axes: Axes, top: float, colours: Mapping[str, str]) -> None:
        """Below `top`."""
        left = MARGIN + INPUT_SIZE[0]
        pitch = (self.width - 2 * left) / self.per_row
        middle = top - self._row_height / 2
        box(axes, (MARGIN + INPUT_SIZE[0] / 2, middle), INPUT_SIZE, "#f2f2f2", "#333333")
        axes.text(MARGIN + INPUT_SIZE[0] / 2, middle, self.links[0][0], ha="center", va="center", fontsize=9)
        right = left
        for index, (source, target, op) in enumerate(self.links):
            row, column = divmod(index, self.per_row)
            x, y = left + pitch * (column + 0.5), middle - row * self._row_height
            size = box_size(op)
            starts = x - size[0] / 2
            if index and not column:
                path = row_break(right, starts, y + self._row_height, y, self.width - MARGIN)
            else:
                path = Path([(right, y), (starts, y)])
            arrow(axes, path, NO_OP_COLOUR, f"arrow-{source}-{target}")
            _layer(axes, (x, y), op, target, colours[op])
            right = x + size[0] / 2
        arrow(axes, Path([(right, y), (right + 0.25, y)]), NO_OP_COLOUR, "arrow-output")
        axes.text(right + 0.28, y, "output", va="center", fontsize=9)


def _layer(axes: Axes, middle: tuple[float, float], op: str, name: str, colour: str) -> None:
    """The box of a layer with its op, and its name below."""
    (x, y), size = middle, box_size(op)
    box(axes, middle, size, mpl.colors.to_rgba(colour, 0.25), colour)
    axes.text(x, y, op, ha="center", va="center", fontsize=8.5)
    axes.text(x, y - size[1] / 2 - 0.06, name, ha="center", va="top", fontsize=7.5, color="#555555")


def box_size(op: str) -> tuple[float, float]:
    """Width and height of a layer's box: wider with the kernel (`K5`, `5x5`), higher with the expansion (`MB6`)."""
    kernel, expansion = re.search(r"K(\d)|(\d)x\2", op), re.search(r"MB(\d)", op)
    width = 0.88 + (0.03 * int(kernel[1] or kernel[2]) if kernel else 0)
    return width, 0.38 + (0.07 * int(expansion[1]) if expansion else 0)


def row_break(right: float, left: float, above: float, below: float, margin: float) -> Path:
    """From the end of one row to the start of the next."""
    between, start = (above + below) / 2, left - 0.25
    outer = min(right + 0.25, margin)
    return Path([(right, above), (outer, above), (outer, between), (start, between), (start, below), (left, below)])
