"""Tables of named records, and the one way to look a name up."""

from collections.abc import Mapping
from typing import TypeVar

from zcpt_ray.errors import UserError

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """The record called `name`.

    Raises:
        UserError: no such record; the message lists what `table` holds. `kind` says what was looked for ("proxy", ...).
    """
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; choose from {', '.join(table)}")
    return table[name]
