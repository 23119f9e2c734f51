"""Drawings of architectures: cells as nodes joined by arrows, chains of layers as strips of boxes.

A drawing is made of links, (source node, target node, op), by part of the architecture, and of nothing else: see
`Space.graphs`.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zcpt_ray.arch import Graph
from zcpt_ray.reports.cell_drawing import CellDrawing
from zcpt_ray.reports.strip_drawing import StripDrawing
from zcpt_ray.reports.strokes import NO_OP, NO_OP_COLOUR

OP_COLOURS = (
    "#1f77b4",
    "#d95f02",
    "#2ca02c",
    "#c2185b",
    "#7b4fb5",
    "#8c564b",
    "#0097a7",
    "#8a8d00",
    "#34495e",
    "#e0a100",
)


def architecture(graphs: Mapping[str, Graph], title: str = "", ops: Sequence[str] = ()) -> Figure:
    """One drawing of all parts of an architecture, one below the other, with a legend.

    `ops` are those of the whole space: each has its colour by its place there, the same in every drawing.
    """
    # All lengths are inches: the axes fill the figure, one unit to the inch.
    parts = {name: StripDrawing(links) if is_chain(links) else CellDrawing(links) for name, links in graphs.items()}
    width = max(part.width for part in parts.values())
    heading, legend = 0.4, 0.5
    top = sum(part.height + heading for part in parts.values()) + legend + (heading if title else 0)
    figure = Figure(figsize=(width, top))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, top))
    axes.axis("off")
    present = {op: None for links in graphs.values() for _, _, op in links if op}
    colours = op_colours((*ops, *present))
    if title:
        axes.text(width / 2, top - 0.2, title, ha="center", va="center", fontsize=11)
        top -= heading
    for name, part in parts.items():
        axes.text(0.15, top - 0.2, name, va="center", fontsize=11, weight="bold")
        part.draw(axes, top - heading, colours)
        top -= heading + part.height
    handles = [Patch(facecolor=colour, label=op) for op, colour in colours.items() if op in present]
    columns = min(len(handles), int(width / 1.4))
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def op_colours(ops: Iterable[str]) -> dict[str, str]:
    """A colour for each op by its place; gray for what passes nothing on, and for no op."""
    known = [op for op in dict.fromkeys(ops) if op != NO_OP]
    colours = {op: OP_COLOURS[index % len(OP_COLOURS)] for index, op in enumerate(known)}
    return colours | {NO_OP: NO_OP_COLOUR, "": NO_OP_COLOUR}


def is_chain(links: Graph) -> bool:
    """Each link starts where the one before ended."""
    return all(before[1] == link[0] for before, link in itertools.pairwise(links))
