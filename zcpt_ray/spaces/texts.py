"""What people write around architectures, and how texts of Python's literals are read without running them."""

import ast
from typing import Any

NUMPY_NAMES = ("np", "numpy")


def tidy(text: object) -> str:
    """`text` without a byte order mark, and without white space or line ends around it; other objects as text."""
    return str(text).strip().strip("\ufeff").strip()


def expression(text: str) -> ast.expr:
    """`text` as one Python expression; what numpy 2 prints, such as `np.int64(0)`, is the number or text in it.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        found: ast.expr = _WithoutNumpy().visit(ast.parse(text, mode="eval")).body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error) or "nested too deeply") from error
    return found


def literal(node: ast.expr) -> Any:
    """The value of a literal.

    Raises:
        ValueError: `node` is something else.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{ast.unparse(node)[:80]} is no list of numbers and texts") from error


class _WithoutNumpy(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(ast.Attribute(ast.Name(name)), [ast.Constant() as constant], []) if name in NUMPY_NAMES:
                return constant
        return self.generic_visit(node)
