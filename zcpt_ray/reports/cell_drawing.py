"""The drawing of a cell: nodes on a line, joined by arrows that bear the names of ops."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.path import Path

from zcpt_ray.arch import Graph
from zcpt_ray.reports.strokes import NO_OP, arrow, box

LETTER_WIDTH = 0.072
"""Width of a letter of an op's name, rather more than less."""
NODE_SIZE = (0.74, 0.5)
"""Width and height of a node."""
LANE_HEIGHT = 0.32
"""Between arrows that run one above the other."""
PORT_GAP = 0.09
"""Between arrows that touch one side of a node."""


@dataclass
class CellDrawing:
    """Nodes on a line, left to right. A link to the next node is straight.

    Every other link has a lane of its own, above or below the line. Names stand over the arrows between two nodes,
    where no other arrow goes up or down: they cannot overlap.
    """

    links: Graph
    nodes: list[str] = field(init=False)
    spacing: float = field(init=False)
    lanes: dict[int, int] = field(init=False)
    """By index of the link: 1, 2, ... above the line, -1, -2, ... below it. Straight links have none."""

    def __post_init__(self) -> None:
        self.nodes = in_order(self.links)
        self.spacing = NODE_SIZE[0] + 0.1 + LETTER_WIDTH * max(len(op) for _, _, op in self.links)
        self.lanes = self._lanes()

    @property
    def width(self) -> float:
        """Inches."""
        return 0.3 + NODE_SIZE[0] + self.spacing * (len(self.nodes) - 1)

    @property
    def height(self) -> float:
        """Inches."""
        return NODE_SIZE[1] + 0.1 + LANE_HEIGHT * (self._most(1) + self._most(-1)) + 0.3

    def draw(self, axes: Axes, top: float, colours: Mapping[str, str]) -> None:
        """Below `top`."""
        middle = top - 0.2 - LANE_HEIGHT * self._most(1) - NODE_SIZE[1] / 2
        places = {node: 0.15 + NODE_SIZE[0] / 2 + self.spacing * index for index, node in enumerate(self.nodes)}
        ports = self._ports()
        for index, (source, target, op) in enumerate(self.links):
            start, end, lane = places[source], places[target], self.lanes.get(index, 0)
            if lane:
                edge = middle + NODE_SIZE[1] / 2 * (1 if lane > 0 else -1)
                height = edge + lane * LANE_HEIGHT
                path = around(start + ports[index, 0], end + ports[index, 1], edge, height)
            else:
                height = middle
                path = Path([(start + NODE_SIZE[0] / 2, middle), (end - NODE_SIZE[0] / 2, middle)])
            arrow(axes, path, colours[op], f"arrow-{source}-{target}", dotted=op == NO_OP)
            first, last = self._span(index)
            gap = places[self.nodes[(first + last - 1) // 2]] + self.spacing / 2
            axes.text(gap, height + 0.035, op, ha="center", va="bottom", fontsize=8.5, color=colours[op])
        for node, x in places.items():
            box(axes, (x, middle), NODE_SIZE, "#f2f2f2", "#333333")
            axes.text(x, middle, node, ha="center", va="center", fontsize=10)

    def _span(self, index: int) -> tuple[int, int]:
        """From which node to which a link goes, by their places on the line."""
        source, target, _ = self.links[index]
        return self.nodes.index(source), self.nodes.index(target)

    def _lanes(self) -> dict[int, int]:
        """Short links lie nearest to the line. Links without an op share the lowest lane."""
        spans = {index: self._span(index) for index in range(len(self.links))}
        bent = [index for index, (source, target) in spans.items() if target - source > 1]
        named = [index for index in bent if self.links[index][2]]
        lanes: dict[int, int] = {}
        taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for index in sorted(named, key=lambda index: (spans[index][1] - spans[index][0], spans[index])):
            source, target = spans[index]
            lane = 1
            while any(first < target and source < last for first, last in taken[lane]):
                lane = -lane if lane > 0 else 1 - lane
            lanes[index] = lane
            taken[lane].append((source, target))
        lowest = min([0, *lanes.values()]) - 1
        return lanes | {index: lowest for index in bent if index not in lanes}

    def _most(self, side: int) -> int:
        """How many lanes there are above (1) or below (-1)."""
        return max([0, *(side * lane for lane in self.lanes.values())])

    def _ports(self) -> dict[tuple[int, int], float]:
        """Per link and end (0 source, 1 target), how far from the middle of the node it touches.

        No two arrows of a node cross.
        """
        touching: dict[tuple[str, bool], set[tuple[int, int]]] = defaultdict(set)
        for index, lane in self.lanes.items():
            for end in (0, 1):
                touching[self.links[index][end], lane > 0].add(_from_left(end, lane))
        ports = {}
        for index, lane in self.lanes.items():
            for end in (0, 1):
                sides = sorted(touching[self.links[index][end], lane > 0])
                ports[index, end] = PORT_GAP * (sides.index(_from_left(end, lane)) - (len(sides) - 1) / 2)
        return ports


def _from_left(end: int, lane: int) -> tuple[int, int]:
    """What arrows on one side of a node are sorted by, from left to right.

    Those that end there are left of those that start there; the farther lanes are outside.
    """
    return 1 - end, abs(lane) * (2 * end - 1)


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


def around(start: float, end: float, edge: float, height: float, corner: float = 0.12) -> Path:
    """From (start, edge) to `height`, along, and back to (end, edge)."""
    bend = corner if height > edge else -corner
    points = [(start, edge), (start, height - bend), (start, height), (start + corner, height)]
    points += [(end - corner, height), (end, height), (end, height - bend), (end, edge)]
    return Path(points, [Path.MOVETO, Path.LINETO, *2 * (Path.CURVE3,), Path.LINETO, *2 * (Path.CURVE3,), Path.LINETO])
