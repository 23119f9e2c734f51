"""The candidate ops of the DARTS space (Liu et al. 2019) and of its subspaces (Zela et al. 2020)."""

from zcpt_ray.spaces.darts.wiring import DARTS_ENDS

DARTS_OP_NAMES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The ops of the full space, without `none`."""
KINDS = ("normal", "reduce")
"""The kinds of cells."""
NUM_EDGES = len(DARTS_ENDS)

Candidates = dict[str, tuple[tuple[str, ...], ...]]
"""Per kind of cell, the candidate ops of each of its 14 edges."""

S1: Candidates = {
    "normal": (
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "dil_conv_3x3"),
        ("dil_conv_3x3", "dil_conv_5x5"),
        ("dil_conv_3x3", "dil_conv_5x5"),
    ),
    "reduce": (
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "dil_conv_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
    ),
}
"""The two ops per edge that the first search of DARTS gave most weight."""


def everywhere(*ops: str) -> Candidates:
    """The same candidates on every edge."""
    return dict.fromkeys(KINDS, (ops,) * NUM_EDGES)
