"""Drawings of architectures: cells as nodes joined by arrows, chains of layers as strips of boxes.

A drawing is made of links, (source node, target node, op), by part of the architecture, and of nothing else: see `Space.graphs`.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path

from zcpt_ray.arch import Graph

# All lengths are inches: the axes fill the figure, one unit to the inch.
WIDTH = 11.0
LETTER = 0.072
"""Width of a letter of an op's name, rather more than less."""
NODE = (0.74, 0.5)
"""Width and height of a node."""
LANE = 0.32
"""Between arrows that run one above the other."""
PORT = 0.09
"""Between arrows that touch one side of a node."""
PER_ROW = 8
"""Most layers in a row of a strip."""
PLAIN = "#7f7f7f"
COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#c2185b", "#7b4fb5", "#8c564b", "#0097a7", "#8a8d00", "#34495e", "#e0a100")
NOTHING = "none"
"""The op that passes nothing on: its arrow is dotted and gray."""


def architecture(graphs: Mapping[str, Graph], title: str = "", ops: Sequence[str] = ()) -> Figure:
    """One drawing of all parts of an architecture, one below the other, with a legend.

    `ops` are those of the whole space: each has its colour by its place there, the same in every drawing.
    """
    present = [op for op in dict.fromkeys(op for links in graphs.values() for _, _, op in links) if op]
    known = [op for op in dict.fromkeys((*ops, *present)) if op != NOTHING]
    colours = {op: COLOURS[index % len(COLOURS)] for index, op in enumerate(known)} | {NOTHING: PLAIN, "": PLAIN}
    parts = {name: Strip(links) if is_chain(links) else Cell(links) for name, links in graphs.items()}
    width = max(part.width for part in parts.values())
    heading, legend = 0.4, 0.5
    height = sum(part.height + heading for part in parts.values()) + legend + (heading if title else 0)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    top = height
    if title:
        axes.text(width / 2, top - 0.2, title, ha="center", va="center", fontsize=11)
        top -= heading
    for name, part in parts.items():
        axes.text(0.15, top - 0.2, name, va="center", fontsize=11, weight="bold")
        part.draw(axes, top - heading, colours)
        top -= heading + part.height
    handles = [Patch(facecolor=colours[op], label=op) for op in sorted(present, key=[*known, NOTHING].index)]
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), int(width / 1.4)), frameon=False, fontsize=9)
    return figure


def is_chain(links: Graph) -> bool:
    """Each link starts where the one before ended."""
    return all(before[1] == link[0] for before, link in itertools.pairwise(links))


@dataclass
class Cell:
    """Nodes on a line, left to right. A link to the next node is straight; every other has a lane of its own above or below.

    Names stand over the arrows between two nodes, where no other arrow goes up or down: they cannot overlap.
    """

    links: Graph
    nodes: list[str] = field(init=False)
    spacing: float = field(init=False)
    lanes: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = in_order(self.links)
        self.spacing = NODE[0] + 0.1 + LETTER * max(len(op) for _, _, op in self.links)
        self.lanes = self._lanes()

    @property
    def width(self) -> float:
        """Inches."""
        return 0.3 + NODE[0] + self.spacing * (len(self.nodes) - 1)

    @property
    def height(self) -> float:
        """Inches."""
        return NODE[1] + 0.1 + LANE * (self._most(1) + self._most(-1)) + 0.3

    def draw(self, axes: Axes, top: float, colours: Mapping[str, str]) -> None:
        """Below `top`."""
        middle = top - 0.2 - LANE * self._most(1) - NODE[1] / 2
        places = {node: 0.15 + NODE[0] / 2 + self.spacing * index for index, node in enumerate(self.nodes)}
        ports = self._ports()
        for index, (source, target, op) in enumerate(self.links):
            start, end = places[source], places[target]
            if lane := self.lanes.get(index, 0):
                side = 1 if lane > 0 else -1
                start, end = start + ports[index, 0], end + ports[index, 1]
                edge, height = middle + side * NODE[1] / 2, middle + side * NODE[1] / 2 + lane * LANE
                path = around(start, end, edge, height)
            else:
                height = middle
                path = Path([(start + NODE[0] / 2, middle), (end - NODE[0] / 2, middle)])
            arrow(axes, path, colours[op], f"arrow-{source}-{target}", dotted=op == NOTHING)
            first, last = self.nodes.index(source), self.nodes.index(target)
            gap = places[self.nodes[(first + last - 1) // 2]] + self.spacing / 2
            axes.text(gap, height + 0.035, op, ha="center", va="bottom", fontsize=8.5, color=colours[op])
        for node, x in places.items():
            box(axes, (x, middle), NODE, "#f2f2f2", "#333333")
            axes.text(x, middle, node, ha="center", va="center", fontsize=10)

    def _lanes(self) -> dict[int, int]:
        """Per link that is not straight, its lane: 1, 2, ... above, -1, -2, ... below; links without an op share the lowest."""
        spans = [(self.nodes.index(source), self.nodes.index(target)) for source, target, _ in self.links]
        lanes: dict[int, int] = {}
        taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
        named = [index for index, (source, target) in enumerate(spans) if target - source > 1 and self.links[index][2]]
        for index in sorted(named, key=lambda index: (spans[index][1] - spans[index][0], spans[index])):
            source, target = spans[index]
            lane = 1
            while any(first < target and source < last for first, last in taken[lane]):
                lane = -lane if lane > 0 else 1 - lane
            lanes[index] = lane
            taken[lane].append((source, target))
        lowest = min([0, *lanes.values()]) - 1
        nameless = [index for index, (source, target) in enumerate(spans) if target - source > 1 and not self.links[index][2]]
        return lanes | dict.fromkeys(nameless, lowest)

    def _most(self, side: int) -> int:
        return max([0, *(side * lane for lane in self.lanes.values())])

    def _ports(self) -> dict[tuple[int, int], float]:
        """Per link and end (0 source, 1 target), how far from the node's middle it touches: no two arrows of a node cross."""
        touching: dict[tuple[str, bool], set[tuple[int, int]]] = defaultdict(set)
        for index, lane in self.lanes.items():
            for end in (0, 1):
                touching[self.links[index][end], lane > 0].add((1 - end, abs(lane) * (1 - 2 * (1 - end))))
        ports = {}
        for index, lane in self.lanes.items():
            for end in (0, 1):
                sides = sorted(touching[self.links[index][end], lane > 0])
                place = sides.index((1 - end, abs(lane) * (1 - 2 * (1 - end))))
                ports[index, end] = PORT * (place - (len(sides) - 1) / 2)
        return ports


@dataclass
class Strip:
    """A box per layer from the input to the output, in rows; wider with the kernel, higher with the expansion that an op names."""

    links: Graph
    per_row: int = field(init=False)

    def __post_init__(self) -> None:
        rows = -(-len(self.links) // PER_ROW)
        self.per_row = -(-len(self.links) // rows)

    @property
    def width(self) -> float:
        """Inches."""
        return WIDTH

    @property
    def height(self) -> float:
        """Inches."""
        return self._row_height * -(-len(self.links) // self.per_row)

    @property
    def _row_height(self) -> float:
        return max(box_size(op)[1] for _, _, op in self.links) + 0.6

    def draw(self, axes: Axes, top: float, colours: Mapping[str, str]) -> None:
        """Below `top`."""
        ends, margin = (0.6, 0.4), 0.1
        pitch = (self.width - 2 * (margin + ends[0])) / self.per_row
        middle = top - self._row_height / 2
        right = margin + ends[0]
        box(axes, (margin + ends[0] / 2, middle), ends, "#f2f2f2", "#333333")
        axes.text(margin + ends[0] / 2, middle, self.links[0][0], ha="center", va="center", fontsize=9)
        for index, (source, target, op) in enumerate(self.links):
            row, column = divmod(index, self.per_row)
            x, y = margin + ends[0] + pitch * (column + 0.5), middle - row * self._row_height
            size, colour = box_size(op), colours[op]
            if index and not column:
                path, right = row_break(right, x - size[0] / 2, y + self._row_height, y, self.width - margin), x
            else:
                path = Path([(right, y), (x - size[0] / 2, y)])
            arrow(axes, path, PLAIN, f"arrow-{source}-{target}")
            box(axes, (x, y), size, mpl.colors.to_rgba(colour, 0.25), colour)
            axes.text(x, y, op, ha="center", va="center", fontsize=8.5)
            axes.text(x, y - size[1] / 2 - 0.06, target, ha="center", va="top", fontsize=7.5, color="#555555")
            right = x + size[0] / 2
        arrow(axes, Path([(right, y), (right + 0.25, y)]), PLAIN, "arrow-output")
        axes.text(right + 0.28, y, "output", va="center", fontsize=9)


def in_order(links: Graph) -> list[str]:
    """The nodes, each after all those that lead to it; of several, first what is named first.

    Raises:
        ValueError: a link closes a circle.
    """
    left = list(dict.fromkeys(node for link in links for node in link[:2]))
    ordered: list[str] = []
    while left:
        ready = [node for node in left if all(source in ordered for source, target, _ in links if target == node)]
        if not ready:
            raise ValueError(f"nodes lead to each other in a circle: {', '.join(left)}")
        ordered.append(ready[0])
        left.remove(ready[0])
    return ordered


def box_size(op: str) -> tuple[float, float]:
    """Width and height of a layer's box: by kernel (`K5`, `5x5`) and expansion (`MB6`)."""
    kernel, expansion = re.search(r"K(\d)|(\d)x\2", op), re.search(r"MB(\d)", op)
    return 0.88 + 0.03 * int(kernel[1] or kernel[2]) if kernel else 0.88, 0.38 + 0.07 * (int(expansion[1]) if expansion else 0)


def around(start: float, end: float, edge: float, height: float, corner: float = 0.12) -> Path:
    """From (start, edge) to `height`, along, and back to (end, edge)."""
    bend = corner if height > edge else -corner
    points = [(start, edge), (start, height - bend), (start, height), (start + corner, height)]
    points += [(end - corner, height), (end, height), (end, height - bend), (end, edge)]
    return Path(points, [Path.MOVETO, Path.LINETO, *2 * (Path.CURVE3,), Path.LINETO, *2 * (Path.CURVE3,), Path.LINETO])


def row_break(right: float, left: float, above: float, below: float, margin: float) -> Path:
    """From the end of one row to the start of the next."""
    between, start = (above + below) / 2, left - 0.25
    outer = min(right + 0.25, margin)
    return Path([(right, above), (outer, above), (outer, between), (start, between), (start, below), (left, below)])


def arrow(axes: Axes, path: Path, colour: str, gid: str, dotted: bool = False) -> None:
    """An arrow along `path`; in an SVG it is found by its id."""
    patch = FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=11, linewidth=1.6, color=colour, gid=gid, capstyle="butt")
    if dotted:
        patch.set_linestyle((0, (2, 2)))
    axes.add_patch(patch)


def box(axes: Axes, middle: tuple[float, float], size: tuple[float, float], face: object, edge: str) -> None:
    """A rounded box."""
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    style = "round,pad=0,rounding_size=0.1"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1.3))
