"""What drawings of architectures are made of: nodes, boxes and arrows. All lengths are inches."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.typing import ColorType

NO_OP = "none"
"""The op that passes nothing on: its arrow is dotted and gray."""
NO_OP_COLOUR = "#7f7f7f"
"""Of that op, and of arrows that bear no op."""


def arrow(axes: Axes, path: Path, colour: str, gid: str, dotted: bool = False) -> None:
    """An arrow along `path`; in an SVG it is found by its id."""
    patch = FancyArrowPatch(
        path=path, arrowstyle="-|>", mutation_scale=11, linewidth=1.6, color=colour, gid=gid, capstyle="butt"
    )
    if dotted:
        patch.set_linestyle((0, (2, 2)))
    axes.add_patch(patch)


def box(axes: Axes, middle: tuple[float, float], size: tuple[float, float], face: ColorType, edge: ColorType) -> None:
    """A rounded box."""
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    style = "round,pad=0,rounding_size=0.1"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1.3))
