"""Drawings: every node, op and arrow is there, and no name lies on another or on a node."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zcpt_ray.arch import ArchSpec, Graph
from zcpt_ray.reports.cell_drawing import CellDrawing, in_order
from zcpt_ray.reports.drawings import architecture
from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.strip_drawing import box_size
from zcpt_ray.spaces import SPACES, Space

GENOTYPE = (
    "Genotype(normal=[('sep_conv_5x5', 0), ('max_pool_3x3', 1), ('skip_connect', 0), ('dil_conv_5x5', 1),"
    " ('sep_conv_3x3', 0), ('avg_pool_3x3', 3), ('dil_conv_3x3', 1), ('sep_conv_5x5', 4)], normal_concat=range(2, 6),"
    " reduce=[('sep_conv_5x5', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0),"
    " ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1)], reduce_concat=range(2, 6))"
)
KNOWN = {
    "darts": (GENOTYPE, {"c(k-2)", "c(k-1)", "2", "3", "4", "5", "c(k)", "normal", "reduce"}, 2 * (8 + 4)),
    "nasbench201": (
        "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|",
        {"in", "out"},
        6,
    ),
    "toy-chain-3": ("skip_connect>nor_conv_3x3>avg_pool_3x3", {"input", "layer0", "layer2", "output"}, 4),
    "nasbench1shot1-1": (
        "conv3x3-bn-relu(0)|maxpool3x3(0,1)|conv1x1-bn-relu(0,2)|conv3x3-bn-relu(1,3)|output(2,4)",
        {"input", "block1", "block4", "output"},
        9,
    ),
}
CHAIN: Graph = [("input", "a", "MB6_K5"), ("a", "b", "skip")]


@pytest.mark.parametrize("space", KNOWN)
def test_a_drawing_names_everything(space: str, tmp_path: Path) -> None:
    text, nodes, arrows = KNOWN[space]
    graphs = SPACES[space].graphs(SPACES[space].decode(text))
    save_figure(architecture(graphs, "the best"), tmp_path / "best")
    assert (tmp_path / "best.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "best.svg").read_text()
    written = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    ops = [op for links in graphs.values() for _, _, op in links if op]
    assert {"the best", *nodes, *ops} <= set(written)
    assert len(re.findall(r'id="arrow-', svg)) == arrows
    for op in set(ops):
        assert written.count(op) == ops.count(op) + 1  # at each arrow, and in the legend


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_no_names_overlap(space: Space, place: int) -> None:
    """In the architecture whose every edge keeps its first ops, and in the one with the last."""
    kept = tuple(edge.candidates[: edge.keep] if place == 0 else edge.candidates[-edge.keep :] for edge in space.edges)
    arch = ArchSpec(space.name, kept)
    boxes = extents(architecture(space.graphs(arch if space.valid(arch) else space.example()), space.name))
    for index, (name, one) in enumerate(boxes):
        for other_name, other in boxes[index + 1 :]:
            assert not one.overlaps(other), (name, other_name)


def extents(figure: Figure) -> list[tuple[str, mpl.transforms.Bbox]]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    return [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts if text.get_text()]


def test_lanes_by_hand() -> None:
    """a-b and b-c are straight; a-c goes above and b-d below it; a-d, crossing both, above; what has no op lowest."""
    cell = CellDrawing(
        [
            ("a", "b", "x"),
            ("b", "c", "x"),
            ("a", "c", "x"),
            ("b", "d", "x"),
            ("a", "d", "x"),
            ("c", "e", ""),
            ("b", "e", ""),
        ]
    )
    assert cell.nodes == ["a", "b", "c", "d", "e"]
    assert cell.lanes == {2: 1, 3: -1, 4: 2, 5: -2, 6: -2}


def test_nodes_stand_after_what_leads_to_them() -> None:
    assert in_order([("b", "c", "x"), ("a", "b", "x")]) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="in a circle: a, b"):
        in_order([("a", "b", "x"), ("b", "a", "x")])


def test_a_box_shows_kernel_and_expansion() -> None:
    (small, low), (wide, high) = box_size("MB3_K3"), box_size("MB6_K7")
    assert small < wide
    assert low < high
    assert box_size("nor_conv_3x3")[0] == small
    assert box_size("skip") == (0.88, 0.38)


def test_an_op_has_one_colour_in_all_drawings_of_a_space() -> None:
    def legend(graphs: dict[str, Graph]) -> dict[str, object]:
        (found,) = architecture(graphs, ops=("MB3_K3", "skip", "MB6_K5")).legends
        return {
            text.get_text(): patch.get_facecolor()
            for text, patch in zip(found.get_texts(), found.get_patches(), strict=True)
        }

    both, one = legend({"layers": CHAIN}), legend({"layers": CHAIN[:1]})
    assert list(both) == ["skip", "MB6_K5"]
    assert both["MB6_K5"] == one["MB6_K5"] != both["skip"]
