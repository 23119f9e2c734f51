"""Genotypes: how the code of DARTS (Liu et al. 2019) and of many papers after it writes an architecture."""

import ast
from typing import Any

from zcpt_ray.spaces.darts.candidates import DARTS_OP_NAMES, KINDS
from zcpt_ray.spaces.darts.wiring import INNER_NODES
from zcpt_ray.spaces.texts import expression, literal

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

    Arguments may be given by place, numbers may be numpy's. Two lists of eight (source node, op number), for normal and
    reduction cells, are NASLib's compact form; op numbers are positions in `DARTS_OP_NAMES`.

    Raises:
        ValueError, TypeError: `text` is not written like that.
    """
    node = expression(text)
    if isinstance(node, ast.Call):
        return _called(node)
    cells = literal(node)
    if not isinstance(cells, tuple | list) or len(cells) != len(KINDS):
        raise ValueError("neither a Genotype nor two lists of (source, op number)")
    return {
        kind: [(_op_name(number), _whole(source)) for source, number in pairs]
        for kind, pairs in zip(KINDS, cells, strict=True)
    }


def _called(call: ast.Call) -> KeptPairs:
    if not isinstance(call.func, ast.Name) or call.func.id != "Genotype":
        raise ValueError("no Genotype")
    fields = [name for kind in KINDS for name in (kind, f"{kind}_concat")]
    given = [*zip(fields, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    names = [name for name, _ in given]
    if sorted(map(str, names)) != sorted(fields) or len(call.args) > len(fields):
        raise ValueError(f"a Genotype has {', '.join(fields)}, each once")
    arguments = dict(given)
    for kind in KINDS:
        if not _concat_is_all(arguments[f"{kind}_concat"]):
            raise ValueError(f"{kind}_concat must be range(2, {2 + INNER_NODES})")
    return {kind: [(str(op), _whole(source)) for op, source in literal(arguments[kind])] for kind in KINDS}


def _concat_is_all(node: ast.expr) -> bool:
    match node:
        case ast.Call(ast.Name("range"), arguments, []):
            return range(*map(literal, arguments)) == range(2, 2 + INNER_NODES)
        case _:
            return list(literal(node)) == list(range(2, 2 + INNER_NODES))


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise ValueError(f"{number!r} is no number of a node or an op")
    return number


def _op_name(number: Any) -> str:
    if not 0 <= _whole(number) < len(DARTS_OP_NAMES):
        raise ValueError(f"there is no op {number}: op numbers are 0 to {len(DARTS_OP_NAMES) - 1}")
    return DARTS_OP_NAMES[number]
