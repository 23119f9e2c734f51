"""Genotypes: how the code of DARTS (Liu et al. 2019) and of many papers after it writes an architecture."""

import ast
from typing import Any

from zcpt_ray.spaces.darts.candidates import KINDS
from zcpt_ray.spaces.darts.wiring import INNER_NODES

KeptPairs = dict[str, list[tuple[str, int]]]
"""Per kind of cell, (op, source node) of the edges that are kept: two for each inner node, node by node."""


def write_genotype(pairs: KeptPairs) -> str:
    """`Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)`."""
    parts = []
    for kind in KINDS:
        written = ", ".join(f"({op!r}, {source})" for op, source in pairs[kind])
        parts.append(f"{kind}=[{written}], {kind}_concat=range(2, {2 + INNER_NODES})")
    return f"Genotype({', '.join(parts)})"


def read_genotype(text: str) -> KeptPairs:
    """The inverse of `write_genotype`; nothing in `text` is executed.

    Raises:
        ValueError, SyntaxError, TypeError, KeyError: `text` is not written like that.
    """
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype") or call.args:
        raise ValueError("no Genotype with named arguments")
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    for kind in KINDS:
        if not _concat_is_all(arguments[f"{kind}_concat"]):
            raise ValueError(f"{kind}_concat must be range(2, {2 + INNER_NODES})")
    found: KeptPairs = {}
    for kind in KINDS:
        found[kind] = [(str(op), int(source)) for op, source in ast.literal_eval(arguments[kind])]
    return found


def _concat_is_all(node: ast.expr) -> bool:
    numbers: Any = (
        [ast.literal_eval(part) for part in node.args] if isinstance(node, ast.Call) else ast.literal_eval(node)
    )
    return list(range(*numbers) if isinstance(node, ast.Call) else numbers) == list(range(2, 2 + INNER_NODES))
